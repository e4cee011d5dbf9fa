//! `approve`, `mode`, `pause`, `resume`, `cancel`, `retry` and `resolve`: a person's decisions.

use wavegate_proto::v1;

use super::{print_changed, unit, with_coordinator};
use crate::cli::{
    actor,
    args::{ApproveArgs, ModeArgs, NotedPlanArgs, ResolveArgs, ResumeArgs, RetryArgs},
    backend::Backend,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    interrupts::Interrupts,
    mode_question,
};

pub(super) async fn approve<B: Backend>(desk: &Desk<B>, args: &ApproveArgs) -> Result<Exit, Failure> {
    mode_question::require_way_to_choose(&desk.console, args.mode)?;
    let mut interrupts = Interrupts::listen()?;
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let estimates = link.connection.estimates(&args.plan).await?;
        let mode = mode_question::choose(&desk.console, args.mode, &estimates, &mut interrupts).await?;
        let warnings = link.connection.approve(&args.plan, mode).await?;
        print_changed(desk, link, &args.plan, warnings).await
    })
    .await
}

pub(super) async fn mode<B: Backend>(desk: &Desk<B>, args: &ModeArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let mode = args.mode.into_proto();
        link.connection.set_mode(&args.plan, mode).await?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

pub(super) async fn pause<B: Backend>(desk: &Desk<B>, args: &NotedPlanArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        link.connection.pause(&args.plan, &args.note).await?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

pub(super) async fn resume<B: Backend>(desk: &Desk<B>, args: &ResumeArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let micro_usd = args.add_usd.unwrap_or(0);
        let resumed = link.connection.resume(&args.plan, args.task.as_deref(), args.add_tokens, micro_usd);
        resumed.await?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

pub(super) async fn cancel<B: Backend>(desk: &Desk<B>, args: &NotedPlanArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let request =
            v1::CancelPlanRequest { plan: args.plan.clone(), by: actor::by(), note: args.note.clone() };
        let answer = link.connection.plans().cancel_plan(request).await;
        unit(&link.connection, answer)?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

pub(super) async fn retry<B: Backend>(desk: &Desk<B>, args: &RetryArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let request =
            v1::RetryTaskRequest { plan: args.plan.clone(), task: args.task.clone(), by: actor::by() };
        let answer = link.connection.plans().retry_task(request).await;
        unit(&link.connection, answer)?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

pub(super) async fn resolve<B: Backend>(desk: &Desk<B>, args: &ResolveArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let request = v1::ResolveWaveRequest {
            plan: args.plan.clone(),
            wave: args.wave.clone(),
            resolution: args.resolution.into_proto().into(),
            tasks: args.tasks.clone(),
            note: args.note.clone(),
            by: actor::by(),
        };
        let answer = link.connection.plans().resolve_wave(request).await;
        unit(&link.connection, answer)?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}
