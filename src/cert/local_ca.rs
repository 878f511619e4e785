//! A certificate authority of this house's own, for names that no certificate covers yet, and for the demo.
//! It binds itself: name constraints let it sign for the file's names only, its key stays in the state folder (0600) and is
//! never exported, so trusting its root in a browser trusts it for nothing else.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertError, Certificate, CertificateOrigin, TlsFactory, files, hex, sha256};
use crate::model::HostPattern;
use plan::Leaf;

/// How long a root is good for: nobody likes to install it twice.
const ROOT_LIFE: Duration = Duration::days(3650);
/// A root with less than this left is replaced: a full leaf must fit, with time to install the new root.
const ROOT_RENEWED_AT: Duration = Duration::days(180);
/// How long a leaf is good for.
const LEAF_LIFE: Duration = Duration::days(90);
/// A leaf with less than this left is made again: a third of its life.
const LEAF_RENEWED_AT: Duration = Duration::days(30);
/// Everything begins a day ago: clocks in a home disagree.
const BACKDATED: Duration = Duration::days(1);

/// The local CA, opened: root and key at hand, permitted for the names it was opened with.
pub struct LocalCa {
    folder: PathBuf,
    root_pem: String,
    root_names: Vec<String>,
    root_key_id: Vec<u8>,
    root_not_after: OffsetDateTime,
    key: KeyPair,
    opened_at: OffsetDateTime,
    opened: Instant,
}

impl LocalCa {
    /// Opens the CA in `state/local-ca` (0700), or makes it: also when the stored one may not sign for one of `names`, is
    /// damaged, or ends within 180 days. A replaced root must be trusted anew, so that is logged as a warning.
    pub fn open(state: &Path, names: &[HostPattern], now: OffsetDateTime) -> Result<LocalCa, CertError> {
        let folder = state.join("local-ca");
        files::private_folder(&folder)?;
        let bases = plan::bases(&plan::leaves(names));
        let path = root_path(&folder);
        if !path.exists() {
            let ca = LocalCa::create(folder, bases, now)?;
            tracing::info!(root = %path.display(), names = ca.root_names.join(" "), "local CA made");
            return Ok(ca);
        }
        let why = match LocalCa::stored(&folder, now) {
            Err(fault) => format!("the stored one cannot be used: {fault}"),
            Ok(ca) if ca.root_not_after - now < ROOT_RENEWED_AT => "the stored one ends soon".to_owned(),
            Ok(ca) => match bases.iter().find(|base| !plan::is_permitted(base, &ca.root_names)) {
                None => return Ok(ca),
                Some(base) => format!("the stored one may not sign for {base}"),
            },
        };
        let ca = LocalCa::create(folder, bases, now)?;
        tracing::warn!(root = %path.display(), names = ca.root_names.join(" "), why, "local CA replaced; trust the new root");
        Ok(ca)
    }

    /// Certificates that cover `names`, each with at most 100 names: `*.d` with `d` where several names share the parent
    /// `d`. Kept in the state folder and used again while they have a third of their 90 days left, so that a restart does
    /// not change what clients pinned. Names the root may not sign for, `*` and addresses get none.
    pub fn issue(&self, factory: &TlsFactory, names: &[HostPattern]) -> Result<Vec<Certificate>, CertError> {
        // The clock given at opening, continued: a process that runs for months must see its leaves grow old.
        let elapsed = Duration::try_from(self.opened.elapsed()).unwrap_or(Duration::ZERO);
        let now = self.opened_at + elapsed;
        let mut certificates = Vec::new();
        for mut leaf in plan::leaves(names) {
            leaf.names.retain(|name| plan::is_permitted(name.strip_prefix("*.").unwrap_or(name), &self.root_names));
            if !leaf.names.is_empty() {
                certificates.push(self.leaf(factory, &leaf, now)?);
            }
        }
        Ok(certificates)
    }

    /// The root, PEM: what clients are given to trust.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Where the root is: `state/local-ca/ca.crt`.
    pub fn root_path(&self) -> PathBuf {
        root_path(&self.folder)
    }

    /// Last moment of the root.
    pub fn root_not_after(&self) -> OffsetDateTime {
        self.root_not_after
    }

    fn stored(folder: &Path, now: OffsetDateTime) -> Result<LocalCa, CertError> {
        let path = root_path(folder);
        let damaged = |fault: String| CertError::Damaged { place: path.display().to_string(), position: 1, fault };
        let text = |bytes| String::from_utf8(bytes).map_err(|_| damaged("not a text".to_owned()));
        let root_pem = text(files::read(&path)?)?;
        let key_pem = text(files::read(&key_path(folder))?)?;
        let key = KeyPair::from_pem(&key_pem).map_err(|cause| CertError::Mint { what: "use of its key", cause })?;
        let der = CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|fault| damaged(fault.to_string()))?;
        let (_, root) = X509Certificate::from_der(&der).map_err(|fault| damaged(fault.to_string()))?;
        if root.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            let (cert, key) = (path.display().to_string(), key_path(folder).display().to_string());
            return Err(CertError::KeyMismatch { cert, key });
        }
        let Some(root_key_id) = key_id(&root) else { return Err(damaged("no key identifier".to_owned())) };
        Ok(LocalCa {
            root_names: permitted_names(&root),
            root_key_id,
            root_not_after: root.validity().not_after.to_datetime(),
            folder: folder.to_owned(),
            root_pem,
            key,
            opened_at: now,
            opened: Instant::now(),
        })
    }

    fn create(folder: PathBuf, bases: Vec<String>, now: OffsetDateTime) -> Result<LocalCa, CertError> {
        let mint = |cause| CertError::Mint { what: "its root", cause };
        let key = KeyPair::generate().map_err(mint)?;
        let mut params = CertificateParams::default();
        let root_key_id = params.key_identifier(&key);
        params.not_before = now - BACKDATED;
        params.not_after = now + ROOT_LIFE;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.name_constraints = Some(constraints(&bases));
        // Two roots never share a name, or a client would take one for the other.
        let number = hex(root_key_id.get(..4).unwrap_or_default());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Doorward");
        params.distinguished_name.push(DnType::CommonName, format!("Doorward local CA {number}"));
        let root_not_after = params.not_after;
        let root_pem = params.self_signed(&key).map_err(mint)?.pem();
        // The key first: if we die in between, the pair does not fit and is made again.
        files::write(&key_path(&folder), key.serialize_pem().as_bytes(), 0o600)?;
        files::write(&root_path(&folder), root_pem.as_bytes(), 0o644)?;
        Ok(LocalCa {
            folder,
            root_pem,
            root_names: bases,
            root_key_id,
            root_not_after,
            key,
            opened_at: now,
            opened: Instant::now(),
        })
    }

    fn leaf(&self, factory: &TlsFactory, leaf: &Leaf, now: OffsetDateTime) -> Result<Certificate, CertError> {
        let path =
            self.folder.join(format!("leaf-{}.pem", hex(sha256(leaf.key.as_bytes()).get(..8).unwrap_or_default())));
        if let Some(stored) = self.stored_leaf(factory, leaf, &path, now) {
            return Ok(stored);
        }
        let mint = |cause| CertError::Mint { what: "a certificate", cause };
        let key = KeyPair::generate().map_err(mint)?;
        let mut params = CertificateParams::default();
        params.not_before = now - BACKDATED;
        params.not_after = (now + LEAF_LIFE).min(self.root_not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        // X.520's upper bound for a common name is 64; what clients read are the alternative names.
        if let Some(name) = leaf.names.iter().find(|name| name.len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        for name in &leaf.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(mint)?));
        }
        let issuer = Issuer::from_ca_cert_pem(&self.root_pem, &self.key).map_err(mint)?;
        let certificate = params.signed_by(&key, &issuer).map_err(mint)?;
        // One file, so that certificate and key can never be of two ages.
        let pem = certificate.pem() + &key.serialize_pem();
        files::write(&path, pem.as_bytes(), 0o600)?;
        tracing::info!(names = leaf.names.join(" "), "local CA issued a certificate");
        factory.certificate_from_pem(local_id(), pem.as_bytes(), pem.as_bytes(), CertificateOrigin::LocalCa)
    }

    /// The leaf of an earlier time, if it is this root's, has all the names, and a third of its life left.
    fn stored_leaf(&self, factory: &TlsFactory, leaf: &Leaf, path: &Path, now: OffsetDateTime) -> Option<Certificate> {
        let pem = files::read(path).ok()?;
        let certificate = factory.certificate_from_pem(local_id(), &pem, &pem, CertificateOrigin::LocalCa).ok()?;
        let der = CertificateDer::from_pem_slice(&pem).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let is_ours = issuer_key_id(&parsed)? == self.root_key_id;
        let is_complete = leaf.names.iter().all(|name| certificate.names.lists(name));
        let is_fresh = certificate.not_before <= now && certificate.not_after - now >= LEAF_RENEWED_AT;
        (is_ours && is_complete && is_fresh).then_some(certificate)
    }
}

fn local_id() -> Arc<str> {
    "local-ca".into()
}

fn root_path(folder: &Path) -> PathBuf {
    folder.join("ca.crt")
}

fn key_path(folder: &Path) -> PathBuf {
    folder.join("ca.key")
}

/// These domains and what is below them; no address at all. Constraints bind only the kinds of name they mention
/// (RFC 5280 §4.2.1.10), so addresses are excluded by name; and a CA for nothing permits one name that cannot exist.
fn constraints(bases: &[String]) -> NameConstraints {
    let nobody = [String::from("invalid")];
    let bases = if bases.is_empty() { &nobody[..] } else { bases };
    NameConstraints {
        permitted_subtrees: bases.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    }
}

fn permitted_names(root: &X509Certificate<'_>) -> Vec<String> {
    let constraints = root.name_constraints().ok().flatten();
    let permitted = constraints.and_then(|found| found.value.permitted_subtrees.as_deref()).unwrap_or_default();
    let names = permitted.iter().filter_map(|subtree| match &subtree.base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

fn key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn issuer_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
