//! The way to the coordinator: its address and the token, looked up again for each connection.
//!
//! Owns what a call carries. Knows no service.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::config::{Address, TokenSource, full_url};
use crate::outside::Outside;

/// Longer than any way through a network, shorter than a person's patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose other end is gone is found out by these, in addition to heartbeats.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel whose calls carry the token.
pub(crate) type Service = InterceptedService<Channel, Bearer>;

/// Where the coordinator is and what it wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    address: Address,
    token: TokenSource,
    outside: Outside,
}

/// No connection came to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no coordinator is live on that database: {} cannot be read ({source})", path.display())]
    NoAddress { path: PathBuf, source: io::Error },
    #[error("the coordinator's address {url:?} is wrong: {why}")]
    BadAddress { url: String, why: String },
    #[error("no answer at {url}: {why}")]
    NoAnswer { url: String, why: String },
}

/// Puts the token into each call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Coordinator {
    pub(crate) fn new(address: Address, token: TokenSource, outside: Outside) -> Self {
        Self { address, token, outside }
    }

    /// Opens a connection of its own.
    pub(crate) async fn connect(&self) -> Result<(Channel, Bearer), ConnectError> {
        let url = self.url()?;
        let wrong = |why: String| ConnectError::BadAddress { url: url.clone(), why };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| wrong(chain(&error)))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let connected = (self.outside.connect)(endpoint).await;
        let channel =
            connected.map_err(|error| ConnectError::NoAnswer { url: url.clone(), why: chain(&error) })?;
        Ok((channel, self.bearer(&url)))
    }

    /// What a person does when the coordinator does not know this worker.
    pub(crate) fn token_advice(&self) -> String {
        let path = self.token.path();
        let read = match fs::metadata(path).and_then(|_| fs::read_to_string(path)) {
            Ok(text) if text.trim().is_empty() => format!("{} is empty", path.display()),
            Ok(_) => match self.url() {
                Ok(url) if self.stays_here(&url) => {
                    format!("the token in {} is not sent to another machine", path.display())
                }
                _ => format!("the token in {} is not the coordinator's", path.display()),
            },
            Err(error) => format!("{} cannot be read ({error})", path.display()),
        };
        format!(
            "{read}; pass --token-file with the file `token` from the folder DATABASE.d that the \
             coordinator keeps beside its database"
        )
    }

    fn url(&self) -> Result<String, ConnectError> {
        let (path, otherwise) = match &self.address {
            Address::Url(url) => return Ok(url.clone()),
            Address::File(path) => (path, None),
            Address::FileOr(path, url) => (path, Some(url)),
        };
        match (fs::read_to_string(path), otherwise) {
            (Ok(text), _) => {
                let line = text.lines().next().unwrap_or_default().trim();
                full_url(line).map_err(|error| ConnectError::BadAddress {
                    url: line.to_owned(),
                    why: error.to_string(),
                })
            }
            (Err(_), Some(url)) => Ok(url.clone()),
            (Err(source), None) => Err(ConnectError::NoAddress { path: path.clone(), source }),
        }
    }

    /// The token, or nothing: a coordinator that wants one says so.
    fn bearer(&self, url: &str) -> Bearer {
        if self.stays_here(url) {
            return Bearer::default();
        }
        let text = fs::read_to_string(self.token.path()).unwrap_or_default();
        let token = text.trim();
        if token.is_empty() {
            return Bearer::default();
        }
        let mut value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>().ok();
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Bearer(value)
    }

    fn stays_here(&self, url: &str) -> bool {
        match self.token {
            TokenSource::File(_) => false,
            TokenSource::Local(_) => !is_loopback(url),
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let authority = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Bearer, ConnectError, is_loopback};
    use crate::config::{Address, TokenSource};
    use crate::outside::Outside;

    fn coordinator(address: Address, token: TokenSource) -> super::Coordinator {
        super::Coordinator::new(address, token, Outside::real())
    }

    #[test]
    fn the_token_beside_the_database_stays_on_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        let bearer = |token, url: &str| {
            let Bearer(value) = coordinator(Address::Url(url.into()), token).bearer(url);
            value.is_some()
        };
        assert!(bearer(TokenSource::Local(path.clone()), "http://127.0.0.1:7433"));
        assert!(!bearer(TokenSource::Local(path.clone()), "http://far.example:7433"));
        assert!(bearer(TokenSource::File(path), "http://far.example:7433"));
        assert!(is_loopback("http://[::1]:7433") && !is_loopback("http://127.0.0.1.example:1"));
    }

    #[test]
    fn the_address_is_read_anew_and_falls_back_where_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, token) = (dir.path().join("address"), TokenSource::File("/none".into()));
        let strict = coordinator(Address::File(path.clone()), token.clone());
        let lenient = coordinator(Address::FileOr(path.clone(), "http://h:1".into()), token);
        assert!(matches!(strict.url(), Err(ConnectError::NoAddress { .. })));
        assert_eq!(lenient.url().unwrap(), "http://h:1");
        std::fs::write(&path, "127.0.0.1:99\n").unwrap();
        assert_eq!(strict.url().unwrap(), "http://127.0.0.1:99");
        assert_eq!(lenient.url().unwrap(), "http://127.0.0.1:99");
    }

    #[test]
    fn the_advice_names_the_file_that_was_tried() {
        let token = TokenSource::File("/nowhere/token".into());
        let advice = coordinator(Address::Url("http://127.0.0.1:1".into()), token).token_advice();
        assert!(advice.contains("/nowhere/token") && advice.contains("--token-file"), "{advice}");
    }
}
