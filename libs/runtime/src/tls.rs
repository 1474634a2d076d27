//! TLS: the one crypto provider of the process.

/// Makes ring the provider of every TLS connection of the process. Calling it again changes nothing.
pub fn install_crypto() {
    // It fails when a provider is there already, and only ours ever is.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn twice_is_harmless() {
        super::install_crypto();
        super::install_crypto();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
