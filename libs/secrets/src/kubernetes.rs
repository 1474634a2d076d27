//! Handing passwords over: as keys of a Secret of Kubernetes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use calgrant_domain::{Address, Password, setup::SecretObject};
use reqwest::{Certificate, Client, StatusCode, header::CONTENT_TYPE, redirect::Policy};

use crate::HandOverError;

/// Where a process in a cluster finds who it is.
const OWN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const API: &str = "https://kubernetes.default.svc";
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A Secret that passwords become keys of. It must be there, and this process's service account may patch it.
#[derive(Debug, Clone)]
pub struct KubernetesSecret {
    client: Client,
    url: String,
    token_file: PathBuf,
    object: SecretObject,
}

impl KubernetesSecret {
    /// One of the cluster that this process runs in.
    ///
    /// # Errors
    /// It doesn't run in one: says what is missing.
    pub fn in_cluster(object: SecretObject) -> Result<Self, String> {
        let file = format!("{OWN}/ca.crt");
        let authority = fs::read(&file).map_err(|cause| {
            format!("{file} can't be read, so this process isn't in a Kubernetes cluster, or has no service account: {cause}")
        })?;
        Self::new(API, Some(&authority), format!("{OWN}/token"), object)
    }

    /// One of the cluster whose API server is at `api_url`. Its certificate is vouched for by `authority` (PEM), or the system's roots;
    /// the token in `token_file` is read each time.
    ///
    /// # Errors
    /// The authority is no certificate.
    pub fn new(
        api_url: &str,
        authority: Option<&[u8]>,
        token_file: impl AsRef<Path>,
        object: SecretObject,
    ) -> Result<Self, String> {
        let mut builder = Client::builder()
            .timeout(TIMEOUT)
            // A password goes where it was meant to go and nowhere else.
            .redirect(Policy::none());
        if let Some(authority) = authority {
            let trusted = Certificate::from_pem(authority)
                .map_err(|cause| format!("the cluster's authority is no certificate: {cause}"))?;
            builder = builder.tls_certs_only([trusted]);
        }
        Ok(Self {
            client: builder.build().map_err(|cause| cause.to_string())?,
            url: format!(
                "{}/api/v1/namespaces/{}/secrets/{}",
                api_url.trim_end_matches('/'),
                object.namespace(),
                object.name()
            ),
            token_file: token_file.as_ref().to_owned(),
            object,
        })
    }

    /// Writes an account's password: its key is what is before the @.
    ///
    /// # Errors
    /// It can't be written: says what to do.
    pub async fn hand_over(
        &self,
        account: &Address,
        password: &Password,
    ) -> Result<(), HandOverError> {
        self.patch(account, password)
            .await
            .map_err(|why| HandOverError::new(account, why))
    }

    async fn patch(&self, account: &Address, password: &Password) -> Result<(), String> {
        let token = fs::read_to_string(&self.token_file)
            .map_err(|cause| format!("{} can't be read: {cause}", self.token_file.display()))?;
        let key = account.as_str().split('@').next().unwrap_or_default();
        let body = serde_json::json!({ "stringData": { key: password.reveal() } });
        let request = self
            .client
            .patch(&self.url)
            .bearer_auth(token.trim())
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(body.to_string());
        let answer = request.send().await;
        let answer = answer.map_err(|cause| format!("the API server doesn't answer: {cause}"))?;
        // What else it says may hold what was sent.
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(format!(
                "there is no Secret {}: make it with kubectl create secret generic {} --namespace {}",
                self.object,
                self.object.name(),
                self.object.namespace()
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
                "this process may not patch the Secret {}: give its service account a role with get and patch on it",
                self.object
            )),
            status => Err(format!("the API server answers {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        body::Bytes,
        extract::State,
        http::{HeaderMap, StatusCode as Code},
        routing::patch,
    };

    use super::*;

    type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

    async fn patched(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> Code {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        seen.lock().unwrap().push((
            header("authorization"),
            header("content-type"),
            String::from_utf8(body.to_vec()).unwrap(),
        ));
        Code::OK
    }

    #[tokio::test]
    async fn a_password_becomes_a_key_of_a_secret_that_is_there() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Seen::default();
        let routes = Router::new()
            .route("/api/v1/namespaces/uni/secrets/passwords", patch(patched))
            .with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::select! {
            _ = axum::serve(listener, routes).into_future() => panic!("it serves no more"),
            () = hand_over_at(&url, &seen) => {}
        }
    }

    async fn hand_over_at(url: &str, seen: &Seen) {
        let place = tempfile::tempdir().unwrap();
        let token = place.path().join("token");
        fs::write(&token, "of-this-process\n").unwrap();
        let account: Address = "sa-1@uni.example".parse().unwrap();
        let password = Password::new("hunter2");
        let of = |object: &str| {
            KubernetesSecret::new(url, None, &token, object.parse().unwrap()).unwrap()
        };
        of("uni/passwords")
            .hand_over(&account, &password)
            .await
            .unwrap();
        let (authorization, kind, body) = seen.lock().unwrap()[0].clone();
        assert_eq!(authorization, "Bearer of-this-process");
        assert_eq!(kind, "application/merge-patch+json");
        assert_eq!(body, r#"{"stringData":{"sa-1":"hunter2"}}"#);
        let missing = of("uni/others").hand_over(&account, &password).await;
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("kubectl create secret") && !missing.contains("hunter2"));
    }
}
