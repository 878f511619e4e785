//! The account at a CA: made once, kept in the state folder (0600), found again at every start.
//! One per CA, whatever the number of certificates; a CA that has forgotten it gets a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, Error, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::http::CaClient;
use super::order::{Failure, explain};
use super::read_secret;
use crate::cert::{SystemRoots, client_config, hex, private_folder, read_file, sha256, write_file};
use crate::config::{AcmeSpec, CaSpec, VerifySpec};

/// The CA does not know the account any more (RFC 8555 §6.7).
const FORGOTTEN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// All accounts of this installation.
pub struct Accounts {
    state: PathBuf,
    roots: Arc<SystemRoots>,
    /// Two certificates of one CA must not make two accounts.
    making: Mutex<()>,
}

/// An open account, and the client that it speaks through.
pub struct OpenAccount {
    /// To order with.
    pub account: Account,
    /// Knows what refusals asked for.
    pub client: CaClient,
}

/// `account.json`.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    email: Option<String>,
    credentials: AccountCredentials,
}

/// `account.json`, written for an account that another program made.
#[derive(Serialize)]
pub struct Imported<'a> {
    /// Address of the CA's directory.
    pub directory: &'a str,
    /// Mail address, if it is known.
    pub email: Option<&'a str>,
    /// As the ACME library writes them.
    pub credentials: serde_json::Value,
}

impl Accounts {
    /// Accounts below a state folder.
    pub fn new(state: &Path, roots: Arc<SystemRoots>) -> Accounts {
        Accounts { state: state.to_owned(), roots, making: Mutex::new(()) }
    }

    /// The account for a certificate: the kept one, else a new one.
    pub async fn open(&self, spec: &AcmeSpec) -> Result<OpenAccount, Failure> {
        let client = self.client(&spec.ca)?;
        let path = account_path(&self.state, &spec.ca.directory.value);
        let kept = match read_kept(&path)? {
            Some(kept) => kept,
            None => {
                let _only_one = self.making.lock().await;
                // Somebody else may have made it while we waited.
                match read_kept(&path)? {
                    Some(kept) => kept,
                    None => return self.make(spec, client, &path).await,
                }
            }
        };
        let account = Account::builder_with_http(Box::new(client.clone())).from_credentials(kept.credentials).await;
        let account = account.map_err(|error| explain("account", &error, &client))?;
        Ok(OpenAccount { account, client })
    }

    /// Whether a fault means that the account is gone; then its file is put aside, and the next try makes a new one.
    pub fn is_forgotten(&self, spec: &AcmeSpec, error: &Error) -> bool {
        let Error::Api(problem) = error else { return false };
        if problem.r#type.as_deref() != Some(FORGOTTEN) {
            return false;
        }
        let path = account_path(&self.state, &spec.ca.directory.value);
        tracing::warn!(ca = %spec.ca.directory.value, "the CA does not know our account any more; a new one is made");
        std::fs::rename(&path, path.with_extension("json.forgotten")).is_ok()
    }

    fn client(&self, ca: &CaSpec) -> Result<CaClient, Failure> {
        let verify = ca.ca.as_ref().map_or(VerifySpec::System, |path| VerifySpec::Ca(path.value.clone()));
        let tls = client_config(&verify, &self.roots, &[b"http/1.1"]);
        Ok(CaClient::new(tls.map_err(|error| Failure::of("setup", &error))?))
    }

    async fn make(&self, spec: &AcmeSpec, client: CaClient, path: &Path) -> Result<OpenAccount, Failure> {
        let contact: Vec<String> = spec.email.iter().map(|email| format!("mailto:{}", email.value)).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wish = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = binding(&spec.ca)?;
        // Before the CA makes it: an account whose key cannot be kept would be lost.
        private_folder(path.parent().unwrap_or(Path::new("/"))).map_err(|error| Failure::of("account", &error))?;
        let directory = spec.ca.directory.value.clone();
        let (account, credentials) = Account::builder_with_http(Box::new(client.clone()))
            .create(&wish, directory.clone(), binding.as_ref())
            .await
            .map_err(|error| explain("account", &error, &client))?;
        let email = spec.email.as_ref().map(|email| email.value.clone());
        let kept = Kept { directory, email, credentials };
        write_account(path, &kept).map_err(|said| Failure::new("account", said))?;
        tracing::info!(ca = %kept.directory, account = account.id(), "account made");
        Ok(OpenAccount { account, client })
    }
}

/// Where the account for a directory is kept.
pub fn account_path(state: &Path, directory: &str) -> PathBuf {
    let folder = hex(sha256(directory.as_bytes()).get(..8).unwrap_or_default());
    state.join("acme").join(folder).join("account.json")
}

/// Writes an account, 0600 in folders of 0700.
pub fn write_account(path: &Path, account: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(account).map_err(|error| error.to_string())?;
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        private_folder(folder.parent().unwrap_or(folder))?;
        private_folder(folder)?;
        write_file(path, &text, 0o600)
    };
    write().map_err(|error| super::in_words(&error))
}

fn read_kept(path: &Path) -> Result<Option<Kept>, Failure> {
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(Failure::of("account", &error)),
    };
    let damaged = |error: serde_json::Error| {
        // The cause may quote what is in the file.
        let said =
            format!("{}: damaged at line {}; delete it, and a new account is made", path.display(), error.line());
        Failure::new("account", said)
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// RFC 8555 §7.3.4. CAs give the key as base64url; some people store it as plain base64.
fn binding(ca: &CaSpec) -> Result<Option<ExternalAccountKey>, Failure> {
    let (Some(kid), Some(file)) = (&ca.eab_kid, &ca.eab_key_file) else { return Ok(None) };
    let secret = read_secret(&file.value).map_err(|error| Failure::of("account", &error))?;
    let text = secret.reveal().trim_end_matches('=');
    let key = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
    let key = key.map_err(|_| Failure::new("account", format!("{}: not base64", file.value.display())))?;
    Ok(Some(ExternalAccountKey::new(kid.value.clone(), &key)))
}
