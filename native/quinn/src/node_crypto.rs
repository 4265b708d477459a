//! Public-key work by the host: Node's OpenSSL signs, verifies and agrees on keys in constant time
//! and twice as fast as ring does in WebAssembly. Only for P-256 and X25519; ring has the rest.
use std::sync::Arc;

use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup,
    WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

/// Longer than any ECDSA signature of P-256 in DER.
const SIGNATURE_BYTES_MAX: usize = 80;
const X25519_BYTES: usize = 32;

mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub fn log(text: *const u8, length: usize);
        pub fn sign_p256(key: u32, message: *const u8, length: usize, signature: *mut u8) -> usize;
        pub fn verify_p256(
            point: *const u8,
            point_length: usize,
            message: *const u8,
            message_length: usize,
            signature: *const u8,
            signature_length: usize,
        ) -> u32;
        pub fn agree_x25519(theirs: *const u8, ours: *mut u8, secret: *mut u8) -> u32;
    }
}

/// A line for the host's log: what a panic said.
pub fn log(text: &str) {
    // SAFETY: the host reads `length` bytes of this text during the call and keeps nothing.
    unsafe { host::log(text.as_ptr(), text.len()) }
}

/// `provider` with key exchange and verification by the host.
pub fn with_host_keys(mut provider: CryptoProvider) -> CryptoProvider {
    provider.kx_groups = vec![&HostX25519];
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: &[&HostP256],
        mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[&HostP256])],
    };
    provider
}

/// The certificate chain whose private key the host holds as `key`.
pub fn certified_by_host(chain: Vec<CertificateDer<'static>>, key: u32) -> Arc<dyn ResolvesServerCert> {
    let signer = Arc::new(HostKey(key));
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, signer)))
}

#[derive(Debug)]
struct HostP256;

impl SignatureVerificationAlgorithm for HostP256 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // SAFETY: the host reads these three slices during the call and keeps nothing.
        let verdict = unsafe {
            host::verify_p256(
                public_key.as_ptr(),
                public_key.len(),
                message.as_ptr(),
                message.len(),
                signature.as_ptr(),
                signature.len(),
            )
        };
        if verdict == 1 { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

/// A private key by the number that the host knows it by.
#[derive(Debug, Clone, Copy)]
struct HostKey(u32);

impl Signer for HostKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; SIGNATURE_BYTES_MAX];
        // SAFETY: the host reads the message and writes at most SIGNATURE_BYTES_MAX bytes.
        let length = unsafe {
            host::sign_p256(self.0, message.as_ptr(), message.len(), signature.as_mut_ptr())
        };
        if length == 0 || length > SIGNATURE_BYTES_MAX {
            return Err(Error::General("the host cannot sign".into()));
        }
        signature.truncate(length);
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl SigningKey for HostKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| Box::new(*self) as _)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct HostX25519;

impl SupportedKxGroup for HostX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Err(Error::General("only servers exchange keys by the host".into()))
    }

    fn start_and_complete(&self, theirs: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let bad_share = || Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        if theirs.len() != X25519_BYTES {
            return Err(bad_share());
        }
        let mut ours = [0; X25519_BYTES];
        let mut secret = [0; X25519_BYTES];
        // SAFETY: the host reads 32 bytes and writes 32 bytes twice.
        let done = unsafe {
            host::agree_x25519(theirs.as_ptr(), ours.as_mut_ptr(), secret.as_mut_ptr())
        };
        if done != 1 {
            return Err(bad_share());
        }
        Ok(CompletedKeyExchange {
            group: NamedGroup::X25519,
            pub_key: ours.to_vec(),
            secret: SharedSecret::from(&secret[..]),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
