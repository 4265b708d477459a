//! What the module tells its host: records in one buffer, read after each call of `run`.
//!
//! A record is a header of 24 bytes (little endian), then `length` bytes, padded to a multiple of 8:
//!
//!     kind u32 | connection u32 | value f64 | extra u32 | length u32 | payload …
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes of an address: IPv6, or IPv4 mapped into IPv6.
pub const ADDRESS_BYTES: usize = 16;
const HEADER_BYTES: usize = 24;
const LENGTH_AT: usize = 20;

/// The kinds of records; `module-records.ts` has the same table.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Kind {
    /// A datagram to send. extra: port; payload: address, datagram.
    Transmit = 1,
    /// A stranger became a connection in its handshake. extra: port; payload: address.
    Accepted = 2,
    /// The handshake is complete. payload: certificates, each with its length in front (u32).
    Connected = 3,
    /// value: stream; extra: 0 more may follow, 1 the end, 2 given up by the peer; payload: bytes.
    Data = 4,
    /// value: stream, which takes bytes again.
    Writable = 5,
    /// value: code; extra: see `By`; payload: the reason in words.
    Closed = 6,
    /// The peer is at another address. extra: port; payload: address.
    Moved = 7,
    /// Not to become a connection. value: where its datagram lies in the input; extra: `Refusal`.
    Refused = 8,
    /// The connection's number is free for another one.
    Gone = 9,
}

/// Who ended a connection.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum By {
    PeerApplication = 1,
    PeerTransport = 2,
    /// An error that our side found; it told the peer.
    LocalTransport = 3,
    Idle = 4,
    /// The host wished it.
    Host = 5,
    /// The peer lost its state.
    Reset = 6,
}

/// Why a datagram did not lead to a connection.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Refusal {
    Stopping = 1,
    Full = 2,
    BadPacket = 3,
    Version = 4,
    BadToken = 5,
    Memory = 6,
}

/// The buffer of records.
#[derive(Default)]
pub struct Records {
    bytes: Vec<u8>,
}

impl Records {
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// A whole record.
    pub fn push(&mut self, kind: Kind, connection: usize, value: f64, extra: u32, payload: &[u8]) {
        let at = self.begin(kind, connection, value, extra);
        self.bytes.extend_from_slice(payload);
        self.end(at);
    }

    /// A record whose payload starts with an address, which also gives `extra`.
    pub fn push_address(&mut self, kind: Kind, connection: usize, at: SocketAddr, rest: &[u8]) {
        let start = self.begin(kind, connection, 0.0, u32::from(at.port()));
        self.bytes.extend_from_slice(&octets(at));
        self.bytes.extend_from_slice(rest);
        self.end(start);
    }

    /// Begins a record whose payload follows by `append`; `end` or `drop_from` must come after.
    pub fn begin(&mut self, kind: Kind, connection: usize, value: f64, extra: u32) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&(kind as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(connection as u32).to_le_bytes());
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.bytes.extend_from_slice(&extra.to_le_bytes());
        self.bytes.extend_from_slice(&0u32.to_le_bytes());
        at
    }

    pub fn append(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    /// Bytes of payload since `begin` returned `at`.
    pub fn payload_bytes(&self, at: usize) -> usize {
        self.bytes.len() - at - HEADER_BYTES
    }

    pub fn set_extra(&mut self, at: usize, extra: u32) {
        self.bytes[at + LENGTH_AT - 4..at + LENGTH_AT].copy_from_slice(&extra.to_le_bytes());
    }

    /// Takes the record begun at `at` back.
    pub fn drop_from(&mut self, at: usize) {
        self.bytes.truncate(at);
    }

    pub fn end(&mut self, at: usize) {
        let length = self.payload_bytes(at) as u32;
        self.bytes[at + LENGTH_AT..at + LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

/// The 16 bytes of an address.
fn octets(address: SocketAddr) -> [u8; ADDRESS_BYTES] {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The address of 16 bytes and a port; IPv4 comes out of its mapping.
pub fn address(octets: [u8; ADDRESS_BYTES], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(), port)
}
