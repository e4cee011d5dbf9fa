//! `serve`: a coordinator until it is interrupted.

use tokio::sync::oneshot;

use crate::cli::{
    args::ServeArgs, backend::Backend, desk::Desk, exit::Exit, failure::Failure, interrupts::Interrupts,
};

/// The first interrupt ends sessions and closes the database; workers keep what they run and come
/// back to the next start. The second one does not wait for that.
pub(super) async fn serve<B: Backend>(desk: &Desk<B>, args: ServeArgs) -> Result<Exit, Failure> {
    let options = args.into_options(&desk.reach)?;
    let mut interrupts = Interrupts::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = desk.backend.serve(options, async {
        // A dropped sender means that nobody waits for the service any more.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return done(served),
        () = interrupts.next() => {}
    }
    desk.console.tell("stopping; Ctrl-C again to stop at once");
    let _ = stop.send(());
    tokio::select! {
        served = &mut serving => done(served),
        () = interrupts.next() => Ok(Exit::Interrupted),
    }
}

fn done(served: anyhow::Result<()>) -> Result<Exit, Failure> {
    served.map(|()| Exit::Done).map_err(Failure::Backend)
}
