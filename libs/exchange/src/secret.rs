//! Secrets and trusted authorities, read by the process that uses them. They travel nowhere.

use std::hash::{DefaultHasher, Hash, Hasher};

use calgrant_domain::{AccountSpec, Credential, Organisation, SecretRef, SiteSpec};
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

/// What a reference leads to.
///
/// # Errors
/// It can't be read: says what to do.
pub fn read(secret: &SecretRef) -> Result<String, String> {
    let text = match secret {
        SecretRef::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set in this process; set it, or refer to a file"))?,
        SecretRef::File(path) => std::fs::read_to_string(path).map_err(|cause| format!("the secret's file {path} can't be read: {cause}"))?,
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err("the secret is empty".into())
    } else {
        Ok(text.to_owned())
    }
}

/// The certificates (PEM) of the authorities that a site's file names; `None` without one: the system's are trusted.
///
/// # Errors
/// The file can't be read: says which.
pub fn authorities(ca_file: Option<&str>) -> Result<Option<String>, String> {
    let read = |path| {
        std::fs::read_to_string(path)
            .map_err(|cause| format!("ca_file {path} can't be read by this process: {cause}"))
    };
    ca_file.map(read).transpose()
}

/// Changes when what an account connects with changes: what its credential refers to, or the authorities that are trusted.
/// `None` while that can't be read. Only for comparing within one process.
pub fn fingerprint(site: &SiteSpec, account: &AccountSpec) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let refs = match &account.credential {
        Credential::Secret(secret) => vec![secret],
        Credential::Certificate { key, certificate } => vec![key, certificate],
    };
    for secret in refs {
        read(secret).ok()?.hash(&mut hasher);
    }
    if let Organisation::Onprem(site) = &site.organisation {
        authorities(site.ca_file.as_deref()).ok()?.hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// When the certificate expires that an account signs in with; `None` where it has another credential, or it can't be read.
pub fn certificate_expires(account: &AccountSpec) -> Option<OffsetDateTime> {
    let Credential::Certificate { certificate, .. } = &account.credential else {
        return None;
    };
    let pem = read(certificate).ok()?;
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_changes_what_is_read_and_a_missing_one_is_named() {
        let path = std::env::temp_dir().join(format!("calgrant-secret-{}", std::process::id()));
        let file = path.display().to_string();
        let secret = SecretRef::File(file.clone());
        assert!(read(&secret).unwrap_err().contains("calgrant-secret"));
        assert!(authorities(Some(&file)).unwrap_err().contains("ca_file"));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(read(&secret).as_deref(), Ok("one"));
        assert_eq!(authorities(Some(&file)).unwrap().as_deref(), Some("one\n"));
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&secret).unwrap_err().contains("empty"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(authorities(None), Ok(None));
    }
}
