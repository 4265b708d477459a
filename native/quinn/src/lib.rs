//! quinn-proto for a host that owns sockets and clocks: one call takes all datagrams that have
//! arrived and answers with all that is to be told or sent. See `records.rs` for the answers.
//!
//! The host writes into `input()`, calls, and reads `output()` before it calls again. One instance
//! of the module is one endpoint. A panic ends the instance, never the host: it traps, and the host
//! starts another one.
mod allocation;
mod engine;
mod node_crypto;
mod peer;
mod records;
mod tls;

use std::cell::RefCell;

use bytes::Bytes;
use quinn_proto::{ClientConfig, Dir, StreamId, VarInt};
use rustls::pki_types::CertificateDer;

use engine::{Engine, Limits};
use records::{ADDRESS_BYTES, address};
use tls::{Bounds, Credentials, ENDPOINT_KEY_BYTES, Outcome};

/// Datagrams of one call, or bytes of one write.
const INPUT_BYTES: usize = 256 << 10;
const FAILED: i32 = -1;

struct Module {
    input: Vec<u8>,
    credentials: Credentials,
    bounds: Option<Bounds>,
    client: Option<ClientConfig>,
    engine: Option<Engine>,
    error: String,
}

thread_local! {
    static MODULE: RefCell<Module> = RefCell::new(Module {
        input: vec![0; INPUT_BYTES],
        credentials: Credentials::default(),
        bounds: None,
        client: None,
        engine: None,
        error: String::new(),
    });
}

fn with_module<T>(work: impl FnOnce(&mut Module) -> T) -> T {
    MODULE.with_borrow_mut(work)
}

fn with_engine<T>(work: impl FnOnce(&mut Engine) -> T) -> T {
    with_module(|module| work(module.engine.as_mut().expect("the endpoint is open")))
}

/// Keeps what went wrong for `error`.
fn fallible(work: impl FnOnce(&mut Module) -> Outcome<i32>) -> i32 {
    with_module(|module| match work(module) {
        Ok(value) => value,
        Err(error) => {
            module.error = error.to_string();
            FAILED
        }
    })
}

/// Where the host puts what it passes.
#[unsafe(no_mangle)]
pub extern "C" fn input() -> *mut u8 {
    with_module(|module| module.input.as_mut_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn input_bytes() -> usize {
    INPUT_BYTES
}

/// What the last failed call says, as UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn error() -> *const u8 {
    with_module(|module| module.error.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn error_bytes() -> usize {
    with_module(|module| module.error.len())
}

/// Forgets the credentials given so far.
#[unsafe(no_mangle)]
pub extern "C" fn credentials_reset() {
    with_module(|module| module.credentials = Credentials::default());
}

/// Adds what lies in the input to the credentials. 0: a certificate of our chain, leaf first; 1: our
/// key, PKCS #8; 2: an authority; 3: the name of the protocol (ALPN).
#[unsafe(no_mangle)]
pub extern "C" fn credentials_add(part: u32, length: usize) {
    with_module(|module| {
        let bytes = module.input[..length].to_vec();
        match part {
            0 => module.credentials.chain.push(CertificateDer::from(bytes)),
            1 => module.credentials.key = bytes,
            2 => module.credentials.authorities.push(CertificateDer::from(bytes)),
            _ => module.credentials.alpn = bytes,
        }
    });
}

/// The host signs with its key of this number; then no key is given.
#[unsafe(no_mangle)]
pub extern "C" fn credentials_host_key(key: u32) {
    with_module(|module| module.credentials.host_key = Some(key));
}

/// Bounds of each connection to come.
#[unsafe(no_mangle)]
pub extern "C" fn set_bounds(
    idle_ms: u32,
    stream_window: u32,
    connection_window: u32,
    streams_bidi: u32,
    streams_uni: u32,
    datagram_bytes: u32,
) {
    let datagram_bytes = u16::try_from(datagram_bytes).unwrap_or(u16::MAX);
    with_module(|module| {
        module.bounds = Some(Bounds {
            idle_ms,
            stream_window,
            connection_window,
            streams_bidi,
            streams_uni,
            datagram_bytes,
        });
    });
}

/// Opens the endpoint with the keys in the input (see `tls::endpoint_config`); `is_server`: with the
/// credentials given. Fails with `error`.
#[unsafe(no_mangle)]
pub extern "C" fn open(is_server: u32) -> i32 {
    std::panic::set_hook(Box::new(|info| node_crypto::log(&info.to_string())));
    fallible(|module| {
        let bounds = module.bounds.ok_or("no bounds")?;
        let server = match is_server {
            0 => None,
            _ => Some(tls::server_config(&module.credentials, bounds)?),
        };
        let mut keys = [0; ENDPOINT_KEY_BYTES];
        keys.copy_from_slice(&module.input[..ENDPOINT_KEY_BYTES]);
        module.engine = Some(Engine::new(server, bounds.datagram_bytes, &keys)?);
        Ok(0)
    })
}

/// Takes up the credentials given, for connections that others open from now on.
#[unsafe(no_mangle)]
pub extern "C" fn use_for_server() -> i32 {
    fallible(|module| {
        let config = tls::server_config(&module.credentials, module.bounds.ok_or("no bounds")?)?;
        module.engine.as_mut().ok_or("not open")?.set_server_config(config);
        Ok(0)
    })
}

/// Takes up the credentials given, for connections that we open from now on.
#[unsafe(no_mangle)]
pub extern "C" fn use_for_client() -> i32 {
    fallible(|module| {
        let bounds = module.bounds.ok_or("no bounds")?;
        module.client = Some(tls::client_config(&module.credentials, bounds)?);
        Ok(0)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn set_limits(
    is_accepting: u32,
    always_retry: u32,
    connections: usize,
    handshakes: usize,
    memory_bytes: usize,
) {
    with_engine(|engine| {
        engine.set_limits(Limits {
            is_accepting: is_accepting != 0,
            always_retry: always_retry != 0,
            connections,
            handshakes,
            memory_bytes,
        });
    });
}

/// Opens a connection to the address in the input, which the server's name follows. Its number, or
/// FAILED.
#[unsafe(no_mangle)]
pub extern "C" fn connect(name_bytes: usize, port: u32) -> i32 {
    fallible(|module| {
        let mut octets = [0; ADDRESS_BYTES];
        octets.copy_from_slice(&module.input[..ADDRESS_BYTES]);
        let name = &module.input[ADDRESS_BYTES..ADDRESS_BYTES + name_bytes];
        let name = std::str::from_utf8(name)?;
        let config = module.client.clone().ok_or("no credentials to connect with")?;
        let remote = address(octets, u16::try_from(port)?);
        let engine = module.engine.as_mut().ok_or("not open")?;
        Ok(i32::try_from(engine.connect(config, remote, name)?)?)
    })
}

/// The id of a new stream, or FAILED while the peer allows no more.
#[unsafe(no_mangle)]
pub extern "C" fn stream_open(connection: usize, is_uni: u32) -> f64 {
    let dir = if is_uni == 0 { Dir::Bi } else { Dir::Uni };
    with_engine(|engine| match engine.open_stream(connection, dir) {
        Some(stream) => peer::stream_value(stream),
        None => f64::from(FAILED),
    })
}

/// Writes from the input. Bytes that were taken, or FAILED where the stream is gone.
#[unsafe(no_mangle)]
pub extern "C" fn stream_write(connection: usize, stream: f64, length: usize, is_last: u32) -> i32 {
    with_module(|module| {
        let Module { engine, input, .. } = module;
        let Some(engine) = engine.as_mut() else { return FAILED };
        let Ok(stream) = VarInt::from_u64(stream as u64) else { return FAILED };
        let stream = StreamId::from(stream);
        match engine.write(connection, stream, &input[..length], is_last != 0) {
            Some(taken) => taken as i32,
            None => FAILED,
        }
    })
}

/// Ends a connection with a code and the reason in the input, once what was written is through.
#[unsafe(no_mangle)]
pub extern "C" fn connection_close(connection: usize, code: u32, reason_bytes: usize) {
    with_module(|module| {
        let reason = Bytes::copy_from_slice(&module.input[..reason_bytes]);
        if let Some(engine) = module.engine.as_mut() {
            engine.close(connection, VarInt::from_u32(code), reason);
        }
    });
}

/// Ends a handshake that took too long.
#[unsafe(no_mangle)]
pub extern "C" fn connection_give_up(connection: usize) {
    with_engine(|engine| engine.give_up(connection));
}

#[unsafe(no_mangle)]
pub extern "C" fn connection_pause(connection: usize, is_paused: u32) {
    with_engine(|engine| engine.pause(connection, is_paused != 0));
}

#[unsafe(no_mangle)]
pub extern "C" fn connection_ping(connection: usize) {
    with_engine(|engine| engine.ping(connection));
}

/// Takes that many bytes of datagrams, does what is due, and returns the bytes of `output`.
#[unsafe(no_mangle)]
pub extern "C" fn run(length: usize) -> usize {
    with_module(|module| {
        let Module { engine, input, .. } = module;
        let engine = engine.as_mut().expect("the endpoint is open");
        engine.run(&input[..length]);
        engine.records.len()
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    with_engine(|engine| engine.records.as_ptr())
}

/// The host has read the output.
#[unsafe(no_mangle)]
pub extern "C" fn output_taken() {
    with_engine(|engine| engine.records.clear());
}

/// Milliseconds until something is due, or FAILED where nothing is.
#[unsafe(no_mangle)]
pub extern "C" fn next_due_ms() -> f64 {
    with_engine(|engine| engine.next_due_ms().unwrap_or(f64::from(FAILED)))
}

#[unsafe(no_mangle)]
pub extern "C" fn connections() -> usize {
    with_engine(|engine| engine.connections())
}

#[unsafe(no_mangle)]
pub extern "C" fn handshakes() -> usize {
    with_engine(|engine| engine.handshakes())
}

#[unsafe(no_mangle)]
pub extern "C" fn retries() -> u32 {
    with_engine(|engine| engine.retries())
}

#[unsafe(no_mangle)]
pub extern "C" fn allocated_bytes() -> usize {
    allocation::allocated_bytes()
}
