//! What every command stands at: the console, the flags that lead to a coordinator, and the
//! backend. Owns the order in which a coordinator is looked for.

use std::path::PathBuf;

use super::{
    args::{AgentArgs, DEFAULT_URL, ReachArgs, quoted},
    backend::{Backend, EmbeddedCoordinator, EmbeddedOptions, Timings},
    client::{Connection, left_address},
    console::Console,
    failure::Failure,
};

/// A command's surroundings.
#[derive(Debug)]
pub(crate) struct Desk<B> {
    pub(crate) console: Console,
    pub(crate) reach: ReachArgs,
    pub(crate) backend: B,
}

/// A coordinator that answers, and whether it lives in this process.
#[derive(Debug)]
pub(crate) struct Link<E> {
    pub(crate) connection: Connection,
    pub(crate) embedded: Option<E>,
}

impl<B: Backend> Desk<B> {
    /// The coordinator that is named or live; else one that opens the database for this command
    /// alone, so that a plan can be looked at and decided about after `run` has ended.
    ///
    /// Not where an address was left behind: that coordinator did not stop in good order and may be
    /// on its way back, and would find its database taken.
    pub(crate) async fn connect(&self) -> Result<Link<B::Embedded>, Failure> {
        if let Some(link) = self.connect_live().await? {
            return Ok(link);
        }
        if !self.reach.database().exists() || left_address(&self.reach).is_some() {
            return Err(self.nobody());
        }
        self.embed(0, None, &AgentArgs::default(), false, Timings::default()).await
    }

    /// The coordinator that is named or live: commands that wait for something to happen need one.
    pub(crate) async fn connect_running(&self) -> Result<Link<B::Embedded>, Failure> {
        let link = self.connect_live().await?;
        link.ok_or_else(|| self.nobody())
    }

    /// The coordinator that is named or live, if there is one. One that is named must answer.
    async fn connect_live(&self) -> Result<Option<Link<B::Embedded>>, Failure> {
        if let Some(url) = &self.reach.coordinator {
            return self.try_url(url).await.map(Some);
        }
        if let Some(link) = self.connect_owner().await? {
            return Ok(Some(link));
        }
        // Another database's coordinator may listen at the default address.
        if self.reach.db.is_some() {
            return Ok(None);
        }
        absent_is_none(self.try_url(DEFAULT_URL).await)
    }

    /// The coordinator that left its address beside the database, if it still answers.
    pub(crate) async fn connect_owner(&self) -> Result<Option<Link<B::Embedded>>, Failure> {
        match left_address(&self.reach) {
            Some(url) => absent_is_none(self.try_url(&url).await),
            None => Ok(None),
        }
    }

    /// The coordinator at this address.
    pub(crate) async fn try_url(&self, url: &str) -> Result<Link<B::Embedded>, Failure> {
        let connection = Connection::reach(url, &self.reach).await?;
        Ok(Link { connection, embedded: None })
    }

    /// A coordinator of our own on the database.
    pub(crate) async fn embed(
        &self,
        workers: usize,
        max_agents: Option<u32>,
        agents: &AgentArgs,
        has_agents: bool,
        timings: Timings,
    ) -> Result<Link<B::Embedded>, Failure> {
        let AgentArgs { worker_config, allow_full, prices } = agents.clone();
        let options = EmbeddedOptions {
            db: self.reach.database(),
            workers,
            max_agents,
            worker_config,
            allow_full,
            has_agents,
            prices,
            timings,
        };
        let embedded = self.backend.embed(options).await.map_err(Failure::Backend)?;
        let connection = Connection::open(embedded.url(), embedded.token()).await?;
        Ok(Link { connection, embedded: Some(embedded) })
    }

    /// Where object stores of repositories are kept: beside the database, where it is of this host.
    pub(crate) fn stores(&self) -> Option<PathBuf> {
        let is_ours = self.reach.coordinator.is_none() && self.reach.database().exists();
        is_ours.then(|| self.reach.stores())
    }

    fn nobody(&self) -> Failure {
        match &self.reach.db {
            Some(db) => Failure::NoOwner { db: quoted(&db.to_string_lossy()) },
            None => Failure::NoCoordinator { url: DEFAULT_URL.to_owned() },
        }
    }

    /// A command line that leads to the same coordinator.
    pub(crate) fn command(&self, rest: &str) -> String {
        let (verb, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
        format!("wavegate {verb}{} {arguments}", self.reach.flags())
    }
}

impl<E: EmbeddedCoordinator> Link<E> {
    /// Closes what this command opened.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self.embedded {
            Some(embedded) => embedded.stop().await.map_err(Failure::Backend),
            None => Ok(()),
        }
    }
}

fn absent_is_none<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Failure::NoCoordinator { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}
