//! Where a container answers, and with what it wants to be asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::error::ContainersError;
use crate::infernet::config::settings::ContainerSettings;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("resultity-node/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A container's addresses and its bearer.
#[derive(Debug)]
pub(super) struct Endpoint {
    output: Uri,
    resources: Url,
    authorization: Option<HeaderValue>,
}

impl Endpoint {
    pub(super) fn new(container: &ContainerSettings) -> Result<Self, ContainersError> {
        let invalid = || ContainersError::InvalidUrl(container.id.clone());
        let mut base = container.url.clone();
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(invalid());
        }
        let authorization = authorization(container)?;
        base.set_username("").map_err(|()| invalid())?;
        base.set_password(None).map_err(|()| invalid())?;
        base.set_query(None);
        base.set_fragment(None);
        let at = |name: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
            url
        };
        let (output, resources) = (at("service_output"), at("service-resources"));
        Ok(Self {
            output: uri(&output).ok_or_else(invalid)?,
            // Looked at once here, so that nothing is wrong with it later.
            resources: uri(&resources).map(|_| resources).ok_or_else(invalid)?,
            authorization,
        })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.resources.scheme() == "https"
    }

    /// Whether a connection comes about; it is closed at once.
    pub(super) async fn takes_connections(&self) -> bool {
        let (Some(host), Some(port)) = (self.resources.host(), self.resources.port_or_known_default()) else {
            return false;
        };
        let connection = match host {
            Host::Domain(name) => TcpStream::connect((name, port)).await,
            Host::Ipv4(address) => TcpStream::connect((address, port)).await,
            Host::Ipv6(address) => TcpStream::connect((address, port)).await,
        };
        connection.is_ok()
    }

    /// The call itself.
    pub(super) fn output(&self, body: Bytes) -> Request<Full<Bytes>> {
        self.request(Method::POST, self.output.clone(), body)
    }

    /// The question what it can do, or whether it supports a model.
    pub(super) fn resources(&self, model_id: Option<&str>) -> Option<Request<Full<Bytes>>> {
        let mut url = self.resources.clone();
        if let Some(model_id) = model_id {
            url.query_pairs_mut().append_pair("model_id", model_id);
        }
        Some(self.request(Method::GET, uri(&url)?, Bytes::new()))
    }

    fn request(&self, method: Method, uri: Uri, body: Bytes) -> Request<Full<Bytes>> {
        let is_post = method == Method::POST;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let headers = request.headers_mut();
        headers.reserve(4);
        headers.insert(header::USER_AGENT, USER_AGENT);
        if is_post {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }
}

fn uri(url: &Url) -> Option<Uri> {
    url.as_str().parse().ok()
}

/// The bearer; or else the name and password of the address, as other clients send them.
fn authorization(container: &ContainerSettings) -> Result<Option<HeaderValue>, ContainersError> {
    let url = &container.url;
    let text = if let Some(bearer) = &container.bearer {
        format!("Bearer {}", bearer.expose_secret())
    } else if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    } else {
        let plain = |text| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let pair = [
            &plain(url.username())[..],
            b":",
            &plain(url.password().unwrap_or_default()),
        ]
        .concat();
        format!("Basic {}", STANDARD.encode(pair))
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ContainersError::InvalidBearer(container.id.clone()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn endpoint(url: &str, bearer: Option<&str>) -> Result<Endpoint, ContainersError> {
        let mut container = ContainerSettings::new("a", url.parse().unwrap());
        container.bearer = bearer.map(Into::into);
        Endpoint::new(&container)
    }

    #[rstest]
    #[case("http://h:3000", "http://h:3000/service_output")]
    #[case("http://h:3000/", "http://h:3000/service_output")]
    #[case("https://h/a/b/?x=1#y", "https://h/a/b/service_output")]
    #[case("http://[::1]:3000", "http://[::1]:3000/service_output")]
    #[case("http://name:secret@h", "http://h/service_output")]
    fn the_path_is_put_behind_the_address(#[case] url: &str, #[case] output: &str) {
        assert_eq!(endpoint(url, None).unwrap().output, output);
    }

    #[rstest]
    #[case("ftp://h", None)]
    #[case("unix:/h", None)]
    #[case("http://h", Some("a\nb"))]
    fn what_cannot_be_called_is_refused(#[case] url: &str, #[case] bearer: Option<&str>) {
        assert!(endpoint(url, bearer).is_err());
    }

    #[test]
    fn ids_of_models_are_escaped_and_bearers_sent_along() {
        let endpoint = endpoint("http://h/x", Some("secret")).unwrap();
        let request = endpoint.resources(Some("a/b c&d=ä#?")).unwrap();
        assert_eq!(
            request.uri(),
            "http://h/x/service-resources?model_id=a%2Fb+c%26d%3D%C3%A4%23%3F"
        );
        assert_eq!(request.headers()["authorization"], "Bearer secret");
        assert!(!format!("{endpoint:?}").contains("secret"));
        let basic = self::endpoint("http://na%40me:pass@h", None).unwrap();
        assert_eq!(
            basic.output(Bytes::new()).headers()["authorization"],
            "Basic bmFAbWU6cGFzcw=="
        );
    }
}
