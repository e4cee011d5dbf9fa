//! The way to a coordinator: one channel, the token in every request, and the services' clients.
//! Owns addresses and tokens; knows no command.

use std::{fs, io, path::PathBuf, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use wavegate_proto::v1::{
    bulk_service_client::BulkServiceClient, fleet_service_client::FleetServiceClient,
    plan_service_client::PlanServiceClient, thor_service_client::ThorServiceClient,
};

use super::{args::ReachArgs, failure::Failure};

/// A listing of a plan of ten thousand tasks with their attempts is larger than gRPC's usual limit
/// of 4 MiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Long enough for a network, short enough for a person who mistyped an address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream that is silent for two of these is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Service = InterceptedService<Channel, Bearer>;

/// A coordinator that answers.
#[derive(Debug, Clone)]
pub struct Connection {
    url: String,
    channel: Channel,
    bearer: Bearer,
    token_file: Option<PathBuf>,
}

/// Puts the token into every request.
#[derive(Debug, Clone, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Connects to a coordinator, with a token that is already known.
    pub(crate) async fn open(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let bearer = bearer(token)?;
        Self::connect(url, bearer, None).await
    }

    /// Connects to a coordinator with the token that the flags name. The token beside the database
    /// is sent to this machine only: elsewhere it is somebody else's.
    pub(crate) async fn reach(url: &str, reach: &ReachArgs) -> Result<Self, Failure> {
        let url = full_url(url)?;
        let (token, file) = match &reach.token_file {
            Some(path) => {
                let token = fs::read_to_string(path)
                    .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?;
                (Some(token), Some(path.clone()))
            }
            None if is_loopback(&url) => read_default_token(reach.default_token_file())?,
            None => (None, None),
        };
        let bearer = bearer(token.as_deref().map(str::trim))?;
        Self::connect(&url, bearer, file).await
    }

    async fn connect(url: &str, bearer: Bearer, token_file: Option<PathBuf>) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| Failure::Usage(format!("the address {url} is wrong: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let channel = endpoint.connect().await.map_err(|_| Failure::NoCoordinator { url: url.to_owned() })?;
        Ok(Self { url: url.to_owned(), channel, bearer, token_file })
    }

    /// Where the coordinator is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Plans: submit, look at, approve, steer.
    #[must_use]
    pub fn plans(&self) -> PlanServiceClient<Service> {
        PlanServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The workers.
    #[must_use]
    pub fn fleet(&self) -> FleetServiceClient<Service> {
        FleetServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Verdicts from outside of the workers.
    #[must_use]
    pub fn thor(&self) -> ThorServiceClient<Service> {
        ThorServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Artifacts.
    #[must_use]
    pub fn bulk(&self) -> BulkServiceClient<Service> {
        BulkServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// What a status of this coordinator means.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        Failure::from_status(status, &self.url, self.token_file.clone())
    }
}

/// The address that a coordinator left beside the database; None when there is none.
pub(crate) fn left_address(reach: &ReachArgs) -> Option<String> {
    let text = fs::read_to_string(reach.address_file()).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn read_default_token(path: PathBuf) -> Result<(Option<String>, Option<PathBuf>), Failure> {
    match fs::read_to_string(&path) {
        Ok(token) => Ok((Some(token), Some(path))),
        // Reading is open without a token; what needs one says so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, None)),
        Err(error) => Err(Failure::Usage(format!("{}: {error}", path.display()))),
    }
}

fn bearer(token: Option<&str>) -> Result<Bearer, Failure> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(Bearer::default());
    };
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
        Failure::Usage("the token holds characters that no token has: is the file right?".into())
    })?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

/// `host:port` is as good as `http://host:port`.
fn full_url(url: &str) -> Result<String, Failure> {
    match url.split_once("://") {
        None => Ok(format!("http://{url}")),
        Some(("http", _)) => Ok(url.to_owned()),
        Some((scheme, _)) => {
            Err(Failure::Usage(format!("the address {url} starts with {scheme}://, expected http://")))
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let authority = url.trim_start_matches("http://").split('/').next();
    let host = authority.unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_beside_the_database_stays_on_this_machine() {
        for url in ["http://127.0.0.1:7433", "http://localhost:1", "http://[::1]:7433/"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1:7433", "http://127.0.0.1.example:1", "http://localhost.x"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn an_address_needs_no_scheme_but_knows_only_one() {
        assert_eq!(full_url("host:1").ok().as_deref(), Some("http://host:1"));
        assert!(matches!(full_url("ftp://host"), Err(Failure::Usage(_))));
    }

    #[tokio::test]
    async fn nobody_listening_is_told_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let failure = Connection::open(&url, None).await.expect_err("nobody listens");
        let text = failure.to_string();
        assert!(text.starts_with(&format!("no coordinator at {url}: start one with")), "{text}");
    }
}
