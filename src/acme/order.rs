//! One order: from names to a chain and its key. Account, order, proofs, finalisation, download; one try, no repetition.
//! Refuses to leave anything behind: what it sets in DNS is written down first and taken away on every way out; what it
//! shows on our own doors goes when it ends.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
};
use serde::{Deserialize, Serialize};

use super::account::{Accounts, OpenAccount};
use super::dns::{DnsError, DnsProvider};
use super::http::CaClient;
use super::propagation::{self, Propagation};
use super::read_secret;
use super::state::{CertFolder, CertState, Record};
use crate::cert::challenge_config;
use crate::config::{AcmeSpec, ChallengeSpec, DnsSpec, KeyType};
use crate::model::HostPattern;
use crate::snapshot::{ChallengeBoard, Proof, Shown};

/// How long the CA may look at the proofs, and again how long it may take to sign.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(300)).backoff(1.5).timeout(Duration::from_secs(180));

/// Why a try came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which step; a metric's label.
    pub step: &'static str,
    /// What the CA, the DNS provider or the system said.
    pub said: String,
    /// How long the other side asked to wait.
    pub asked: Option<Duration>,
}

impl Failure {
    /// In these words.
    pub fn new(step: &'static str, said: impl Into<String>) -> Failure {
        Failure { step, said: said.into(), asked: None }
    }

    /// In the words of an error and its causes.
    pub fn of(step: &'static str, error: &dyn std::error::Error) -> Failure {
        Failure::new(step, super::in_words(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.said)
    }
}

impl From<DnsError> for Failure {
    fn from(error: DnsError) -> Failure {
        Failure { step: error.step.label(), said: error.to_string(), asked: error.retry_after }
    }
}

/// What a CA gave.
pub struct Issue {
    /// Chain, PEM, leaf first.
    pub cert_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
}

/// An order whose certificate may exist already: kept so that a process that was killed fetches it rather than order again.
#[derive(Serialize, Deserialize)]
struct OpenOrder {
    directory: String,
    url: String,
    names: Vec<String>,
    key_type: String,
    key_pem: String,
}

/// All that a try needs.
pub struct Attempt<'a> {
    /// What is ordered.
    pub spec: &'a AcmeSpec,
    /// Where records are written down.
    pub folder: &'a CertFolder,
    /// Likewise.
    pub state: &'a mut CertState,
    /// State folder.
    pub state_dir: &'a Path,
    /// Accounts.
    pub accounts: &'a Accounts,
    /// Where proofs are shown on our doors.
    pub board: &'a ChallengeBoard,
    /// The certificate that this one takes the place of, if the CA issued it (RFC 9773 §5).
    pub replaces: Option<CertificateIdentifier<'static>>,
}

impl Attempt<'_> {
    /// Orders. Whatever comes of it, [`clear_records`] is due afterwards.
    pub async fn run(&mut self) -> Result<Issue, Failure> {
        self.read_secrets()?;
        let mut open = self.accounts.open(self.spec).await?;
        if let Some(issue) = self.resume(&open).await {
            return Ok(issue);
        }
        let mut order = match self.new_order(&open).await {
            Ok(order) => order,
            Err(error) if self.accounts.is_forgotten(self.spec, &error) => {
                open = self.accounts.open(self.spec).await?;
                self.new_order(&open).await.map_err(|error| explain("order", &error, &open.client))?
            }
            Err(error) => return Err(explain("order", &error, &open.client)),
        };
        let shown = self.prove(&mut order, &open.client).await?;
        self.await_ready(&mut order, &open.client).await?;
        // The CA has seen the proofs.
        drop(shown);
        let key = new_key(self.spec.key_type).await?;
        let csr = request_for(&self.names(), &key)?;
        let kept = OpenOrder {
            directory: self.spec.ca.directory.value.clone(),
            url: order.url().to_owned(),
            names: self.names(),
            key_type: key_type_word(self.spec.key_type).to_owned(),
            key_pem: key.serialize_pem(),
        };
        self.folder.save_order(&kept).map_err(|error| Failure::of("store", &error))?;
        order.finalize_csr(&csr).await.map_err(|error| explain("finalize", &error, &open.client))?;
        let cert_pem = order.poll_certificate(&PATIENCE).await;
        let cert_pem = cert_pem.map_err(|error| explain("finalize", &error, &open.client))?;
        Ok(Issue { cert_pem, key_pem: kept.key_pem })
    }

    /// Before the CA is bothered: without its secret the DNS provider cannot prove anything.
    fn read_secrets(&self) -> Result<(), Failure> {
        let ChallengeSpec::Dns(dns) = &self.spec.challenge else { return Ok(()) };
        for file in dns.token_file.iter().chain(&dns.key_file) {
            read_secret(&file.value).map_err(|error| Failure::from(DnsError::from(error)))?;
        }
        Ok(())
    }

    /// The certificate of an order that was not finished, if there is one and it comes to something.
    async fn resume(&self, open: &OpenAccount) -> Option<Issue> {
        let kept: OpenOrder = self.folder.open_order()?;
        // Once only: an order that cannot be finished must not stand in the way of a new one.
        self.folder.forget_order();
        let is_ours = kept.directory == self.spec.ca.directory.value
            && kept.names == self.names()
            && kept.key_type == key_type_word(self.spec.key_type);
        if !is_ours {
            return None;
        }
        let mut order = open.account.order(kept.url).await.ok()?;
        match order.state().status {
            OrderStatus::Ready => {
                let key = KeyPair::from_pem(&kept.key_pem).ok()?;
                order.finalize_csr(&request_for(&kept.names, &key).ok()?).await.ok()?;
            }
            OrderStatus::Valid | OrderStatus::Processing => {}
            OrderStatus::Pending | OrderStatus::Invalid => return None,
        }
        let cert_pem = order.poll_certificate(&PATIENCE).await.ok()?;
        tracing::info!(order = order.url(), "an order that was begun before is finished");
        Some(Issue { cert_pem, key_pem: kept.key_pem })
    }

    async fn new_order(&self, open: &OpenAccount) -> Result<Order, Error> {
        let identifiers: Vec<Identifier> = self.names().into_iter().map(Identifier::Dns).collect();
        let plain = || {
            let order = NewOrder::new(&identifiers);
            match &self.spec.ca.profile {
                Some(profile) => order.profile(&profile.value),
                None => order,
            }
        };
        match self.replaces.clone() {
            None => open.account.new_order(&plain()).await,
            Some(replaced) => match open.account.new_order(&plain().replaces(replaced)).await {
                // Not known, replaced before, or not spoken: `replaces` is a courtesy, the certificate is what counts.
                Err(error) if !is_limit(&error) => {
                    tracing::debug!(%error, "ordered again without saying what is replaced");
                    open.account.new_order(&plain()).await
                }
                order => order,
            },
        }
    }

    /// Shows the CA that every name is ours, and tells it to look.
    async fn prove(&mut self, order: &mut Order, client: &CaClient) -> Result<Vec<Shown>, Failure> {
        let mut shown = Vec::new();
        let mut records: Vec<Record> = Vec::new();
        let kind = challenge_type(&self.spec.challenge);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| explain("order", &error, client))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some(challenge) = authorization.challenge(kind.clone()) else {
                return Err(Failure::new("challenge", "the CA does not offer this challenge for one of the names"));
            };
            let Identifier::Dns(name) = challenge.identifier().identifier else {
                return Err(Failure::new("challenge", "the CA names something that is no DNS name"));
            };
            let key = challenge.key_authorization();
            match &self.spec.challenge {
                ChallengeSpec::Dns(_) => {
                    records.push(Record { name: format!("_acme-challenge.{name}"), value: key.dns_value() });
                }
                ChallengeSpec::Http => shown.push(self.board.show(Proof::Token {
                    token: challenge.token.as_str().into(),
                    key_authorization: key.as_str().to_owned().into(),
                })),
                ChallengeSpec::TlsAlpn => {
                    let digest = crate::cert::sha256(key.as_str().as_bytes());
                    let config = challenge_config(name, &digest).map_err(|error| Failure::of("challenge", &error))?;
                    shown.push(self.board.show(Proof::Certificate { name: name.to_ascii_lowercase().into(), config }));
                }
            }
        }
        if let ChallengeSpec::Dns(dns) = &self.spec.challenge {
            self.publish(dns, records).await?;
        }
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| explain("order", &error, client))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(kind.clone()) {
                challenge.set_ready().await.map_err(|error| explain("challenge", &error, client))?;
            }
        }
        Ok(shown)
    }

    /// Sets the TXT records and waits until they are seen. Each is written down before it is set.
    async fn publish(&mut self, dns: &DnsSpec, records: Vec<Record>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let provider = super::dns::provider(dns, self.state_dir)?;
        self.state.records.extend(records.iter().cloned());
        self.folder.save(self.state).map_err(|error| Failure::of("store", &error))?;
        let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for record in &records {
            provider.set_txt(&record.name, &record.value).await?;
            by_name.entry(&record.name).or_default().push(record.value.clone());
        }
        for (name, values) in by_name {
            match propagation::wait(dns, provider.as_ref(), name, &values).await {
                Propagation::Seen { took } => tracing::debug!(name, took_ms = took.as_millis(), "TXT records seen"),
                Propagation::Unseen { after, why } => {
                    tracing::warn!(name, waited_s = after.as_secs(), why, "TXT records not seen everywhere; going on");
                }
                Propagation::Unchecked { why } => {
                    tracing::warn!(name, why, "nobody could be asked for the TXT records; going on");
                }
            }
        }
        Ok(())
    }

    async fn await_ready(&self, order: &mut Order, client: &CaClient) -> Result<(), Failure> {
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.refused_proofs(order, None, client).await),
            Err(Error::Api(problem)) => Err(self.refused_proofs(order, Some(problem.to_string()), client).await),
            Err(error) => Err(explain("validation", &error, client)),
        }
    }

    /// What the CA says about each name that it was not shown.
    async fn refused_proofs(&self, order: &mut Order, said: Option<String>, client: &CaClient) -> Failure {
        let mut faults = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(fresh) = authorization.refresh().await else { continue };
            let problems = fresh.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            let details: Vec<String> = problems.map(said_of).collect();
            if !details.is_empty() {
                faults.push(format!("{}: {}", fresh.identifier(), details.join("; ")));
            }
        }
        let said = match faults.is_empty() {
            true => said.unwrap_or_else(|| "the CA refuses the order without saying why".to_owned()),
            false => format!("the CA says: {}", faults.join("; ")),
        };
        Failure { step: "validation", said, asked: client.take_asked() }
    }

    fn names(&self) -> Vec<String> {
        self.spec.names.iter().map(|name| name_of(&name.value)).collect()
    }
}

/// Takes away every TXT record that is written down. Those that do not go stay written down, for another time.
pub async fn clear_records(
    dns: Option<&DnsSpec>,
    folder: &CertFolder,
    state: &mut CertState,
    state_dir: &Path,
) -> Result<(), Failure> {
    if state.records.is_empty() {
        return Ok(());
    }
    let Some(dns) = dns else {
        let names: Vec<&str> = state.records.iter().map(|record| record.name.as_str()).collect();
        tracing::warn!(
            records = names.join(", "),
            "TXT records of an earlier order may be left; `dns` is gone from the file"
        );
        state.records.clear();
        return folder.save(state).map_err(|error| Failure::of("store", &error));
    };
    let provider: Box<dyn DnsProvider> = super::dns::provider(dns, state_dir)?;
    let mut fault = None;
    for record in std::mem::take(&mut state.records) {
        if let Err(error) = provider.clear_txt(&record.name, &record.value).await {
            state.records.push(record);
            fault = Some(error);
        }
    }
    folder.save(state).map_err(|error| Failure::of("store", &error))?;
    fault.map_or(Ok(()), |error| Err(error.into()))
}

/// A fault of the ACME library in words, with the pause that the CA asked for.
pub fn explain(step: &'static str, error: &Error, client: &CaClient) -> Failure {
    let asked = client.take_asked();
    let said = match error {
        Error::Api(problem) => format!("the CA says: {}", said_of(problem)),
        Error::Timeout(_) => "the CA did not finish within 3 minutes".to_owned(),
        Error::Other(cause) => super::in_words(cause.as_ref()),
        Error::Json(_) => "the CA's answer is not what the protocol has".to_owned(),
        other => match other.source() {
            Some(cause) => format!("{other}: {cause}"),
            None => other.to_string(),
        },
    };
    Failure { step, said, asked }
}

fn said_of(problem: &instant_acme::Problem) -> String {
    let kind = problem.r#type.as_deref().map(|kind| kind.rsplit(':').next().unwrap_or(kind));
    let mut said = problem.detail.clone().unwrap_or_else(|| "no reason given".to_owned());
    for part in &problem.subproblems {
        said.push_str(&format!("; {part}"));
    }
    if let Some(kind) = kind {
        said.push_str(&format!(" ({kind})"));
    }
    super::printable(&said, 1000)
}

fn is_limit(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":rateLimited")))
}

fn challenge_type(spec: &ChallengeSpec) -> ChallengeType {
    match spec {
        ChallengeSpec::Dns(_) => ChallengeType::Dns01,
        ChallengeSpec::Http => ChallengeType::Http01,
        ChallengeSpec::TlsAlpn => ChallengeType::TlsAlpn01,
    }
}

/// As certificates and orders write it.
pub fn name_of(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Wildcard(base) => format!("*.{base}"),
        // The file's check refuses them.
        HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => pattern.to_string(),
    }
}

/// As the file writes it.
pub fn key_type_word(kind: KeyType) -> &'static str {
    match kind {
        KeyType::P256 => "p256",
        KeyType::P384 => "p384",
        KeyType::Rsa2048 => "rsa2048",
    }
}

/// A new key; off the control runtime, since RSA takes its time.
async fn new_key(kind: KeyType) -> Result<KeyPair, Failure> {
    let make = move || match kind {
        KeyType::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
    };
    let key = tokio::task::spawn_blocking(make).await.map_err(|error| Failure::of("key", &error))?;
    key.map_err(|error| Failure::of("key", &error))
}

fn request_for(names: &[String], key: &KeyPair) -> Result<Vec<u8>, Failure> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(|error| Failure::of("key", &error))?;
    // No common name: every client reads the alternative names, and CAs are giving it up.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(|error| Failure::of("key", &error))?;
    Ok(request.der().to_vec())
}
