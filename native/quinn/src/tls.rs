//! TLS and transport configurations from what the host gives: DER certificates, a key, bounds.
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, EndpointConfig, HashedConnectionIdGenerator, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring as ring_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, SupportedCipherSuite};

use crate::node_crypto;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What every QUIC path carries (RFC 9000 section 14.1).
const SMALLEST_DATAGRAM: u16 = 1200;
/// Handshake bytes that wait for others to be in order; a long certificate chain is 10 kB.
const CRYPTO_BUFFER_BYTES: usize = 16 << 10;
/// Keys of an endpoint: 64 bytes for stateless resets, 8 for connection ids.
pub const ENDPOINT_KEY_BYTES: usize = 72;
const ID_KEY_BYTES: usize = 8;
const QUIC_VERSION_1: u32 = 1;

/// Who we are and whom we trust.
#[derive(Default)]
pub struct Credentials {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS #8; empty where the host signs.
    pub key: Vec<u8>,
    /// The number of the host's key, where the host signs.
    pub host_key: Option<u32>,
    pub authorities: Vec<CertificateDer<'static>>,
    pub alpn: Vec<u8>,
}

/// Bounds of each connection.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub idle_ms: u32,
    pub stream_window: u32,
    pub connection_window: u32,
    pub streams_bidi: u32,
    pub streams_uni: u32,
    pub datagram_bytes: u16,
}

/// What an endpoint tells everybody. A peer's datagrams may have `datagram_bytes`. An endpoint with
/// the keys of an earlier one can tell that one's peers that their connections are gone.
pub fn endpoint_config(datagram_bytes: u16, keys: &[u8; ENDPOINT_KEY_BYTES]) -> Outcome<EndpointConfig> {
    let (reset_key, id_key) = keys.split_at(ENDPOINT_KEY_BYTES - ID_KEY_BYTES);
    let id_key = u64::from_le_bytes(id_key.try_into()?);
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config.max_udp_payload_size(datagram_bytes.max(SMALLEST_DATAGRAM))?;
    config.supported_versions(vec![QUIC_VERSION_1]);
    Ok(config)
}

/// For connections that others open: they must show a certificate. Nothing of a session is kept, so
/// none can be resumed, and early data is off.
pub fn server_config(credentials: &Credentials, bounds: Bounds) -> Outcome<ServerConfig> {
    let mut provider = cheap_suites(ring_provider::default_provider());
    if credentials.host_key.is_some() {
        provider = node_crypto::with_host_keys(provider);
    }
    let provider = Arc::new(provider);
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(credentials)?),
        provider.clone(),
    )
    .build()?;
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier);
    let chain = credentials.chain.clone();
    let mut tls = match credentials.host_key {
        Some(key) => builder.with_cert_resolver(node_crypto::certified_by_host(chain, key)),
        None => builder.with_single_cert(chain, private_key(credentials))?,
    };
    tls.alpn_protocols = vec![credentials.alpn.clone()];
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.max_early_data_size = 0;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport_config(bounds)?).migration(true);
    Ok(config)
}

/// For connections that we open.
pub fn client_config(credentials: &Credentials, bounds: Bounds) -> Outcome<ClientConfig> {
    let provider = Arc::new(cheap_suites(ring_provider::default_provider()));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(credentials)?)
        .with_client_auth_cert(credentials.chain.clone(), private_key(credentials))?;
    tls.alpn_protocols = vec![credentials.alpn.clone()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport_config(bounds)?);
    Ok(config)
}

fn transport_config(bounds: Bounds) -> Outcome<Arc<TransportConfig>> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(bounds.datagram_bytes.max(SMALLEST_DATAGRAM));
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(Duration::from_millis(bounds.idle_ms.into()).try_into()?))
        .stream_receive_window(VarInt::from_u32(bounds.stream_window))
        .receive_window(VarInt::from_u32(bounds.connection_window))
        .send_window(bounds.connection_window.into())
        .max_concurrent_bidi_streams(VarInt::from_u32(bounds.streams_bidi))
        .max_concurrent_uni_streams(VarInt::from_u32(bounds.streams_uni))
        .initial_mtu(SMALLEST_DATAGRAM)
        .mtu_discovery_config(Some(discovery))
        .datagram_receive_buffer_size(None)
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES);
    Ok(Arc::new(config))
}

/// ChaCha20-Poly1305 first: without instructions for AES, ring's AES costs eight times as much.
fn cheap_suites(mut provider: CryptoProvider) -> CryptoProvider {
    let suites: [SupportedCipherSuite; 2] = [
        ring_provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ring_provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    provider.cipher_suites = suites.to_vec();
    provider
}

fn roots(credentials: &Credentials) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in &credentials.authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

fn private_key(credentials: &Credentials) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.clone()))
}
