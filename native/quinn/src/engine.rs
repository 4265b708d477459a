//! The endpoint: datagrams in, records out, one timer. It does no input or output, and reads the
//! clock once a turn.
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointEvent,
    Incoming, ServerConfig, StreamId, Transmit, VarInt,
};

use crate::allocation::allocated_bytes;
use crate::peer::{Peer, tell_closed};
use crate::records::{ADDRESS_BYTES, By, Kind, Records, Refusal, address};
use crate::tls::{ENDPOINT_KEY_BYTES, Outcome, endpoint_config};

/// Records of one turn; connections that did not get their turn have the next one.
const RECORD_BYTES_MAX: usize = 4 << 20;
/// For a connection that ended before it had a number.
const NO_NUMBER: usize = u32::MAX as usize;
/// CONNECTION_REFUSED, for a handshake that has to make way.
const REFUSED: VarInt = VarInt::from_u32(2);
/// In front of each datagram of the input: its length and port (u16), then the address.
const INPUT_HEADER_BYTES: usize = 4 + ADDRESS_BYTES;

/// How many strangers the endpoint takes.
#[derive(Clone, Copy)]
pub struct Limits {
    pub is_accepting: bool,
    pub always_retry: bool,
    pub connections: usize,
    pub handshakes: usize,
    /// Past this many allocated bytes the oldest handshakes go; when none is left, no stranger is
    /// taken.
    pub memory_bytes: usize,
}

impl Limits {
    /// Before the host has said anything: nobody is taken, and what we open ourselves is let be.
    pub const CLOSED: Self = Self {
        is_accepting: false,
        always_retry: false,
        connections: 0,
        handshakes: 0,
        memory_bytes: usize::MAX,
    };

    fn is_memory_short(&self) -> bool {
        allocated_bytes() >= self.memory_bytes
    }
}

pub struct Engine {
    endpoint: Endpoint,
    limits: Limits,
    peers: Vec<Option<Peer>>,
    scheduled: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// Handshakes in flight, oldest first.
    handshakes: VecDeque<usize>,
    open: usize,
    retries: u32,
    scratch: Vec<u8>,
    pub records: Records,
}

impl Engine {
    /// Fails where the size of datagrams is out of range.
    pub fn new(
        server: Option<ServerConfig>,
        datagram_bytes: u16,
        keys: &[u8; ENDPOINT_KEY_BYTES],
    ) -> Outcome<Self> {
        let config = Arc::new(endpoint_config(datagram_bytes, keys)?);
        Ok(Self {
            endpoint: Endpoint::new(config, server.map(Arc::new), true, None),
            limits: Limits::CLOSED,
            peers: Vec::new(),
            scheduled: VecDeque::new(),
            timers: BTreeSet::new(),
            handshakes: VecDeque::new(),
            open: 0,
            retries: 0,
            scratch: Vec::new(),
            records: Records::default(),
        })
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// For connections to come.
    pub fn set_server_config(&mut self, config: ServerConfig) {
        self.endpoint.set_server_config(Some(Arc::new(config)));
    }

    pub fn connections(&self) -> usize {
        self.open
    }

    pub fn handshakes(&self) -> usize {
        self.handshakes.len()
    }

    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Milliseconds until something is due: 0 where it is now, None where nothing is.
    pub fn next_due_ms(&self) -> Option<f64> {
        if !self.scheduled.is_empty() {
            return Some(0.0);
        }
        let (due, _) = self.timers.first()?;
        Some(due.saturating_duration_since(Instant::now()).as_secs_f64() * 1000.0)
    }

    /// Opens a connection and returns its number.
    pub fn connect(
        &mut self,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Outcome<usize> {
        let (handle, connection) =
            self.endpoint.connect(Instant::now(), config, remote, server_name)?;
        self.insert(handle, connection);
        Ok(handle.0)
    }

    pub fn open_stream(&mut self, number: usize, dir: Dir) -> Option<StreamId> {
        self.peer(number)?.connection.streams().open(dir)
    }

    /// Bytes that were taken; None where the stream or the connection is gone.
    pub fn write(
        &mut self,
        number: usize,
        stream: StreamId,
        bytes: &[u8],
        is_last: bool,
    ) -> Option<usize> {
        let taken = self.peer(number)?.write(stream, bytes, is_last);
        self.schedule(number);
        taken
    }

    pub fn pause(&mut self, number: usize, is_paused: bool) {
        if let Some(peer) = self.peer(number) {
            peer.pause(is_paused);
            self.schedule(number);
        }
    }

    pub fn ping(&mut self, number: usize) {
        if let Some(peer) = self.peer(number) {
            peer.connection.ping();
            self.schedule(number);
        }
    }

    pub fn close(&mut self, number: usize, code: VarInt, reason: Bytes) {
        if let Some(peer) = self.peer(number) {
            peer.close(Instant::now(), code, reason);
            self.schedule(number);
        }
    }

    /// Ends a handshake and frees its place; nothing happens to a connection that is through.
    pub fn give_up(&mut self, number: usize) {
        if self.handshakes.contains(&number) {
            self.give_up_handshake(Instant::now(), number);
        }
    }

    /// Takes the datagrams of `input`, then does all that is due within the bounds of a turn. Adds to
    /// the records; whoever has read them clears them.
    pub fn run(&mut self, input: &[u8]) {
        let now = Instant::now();
        self.take_input(now, input);
        while let Some(&(due, number)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            if let Some(peer) = self.peers[number].as_mut() {
                peer.timer = None;
                peer.connection.handle_timeout(now);
            }
            self.schedule(number);
        }
        for _ in 0..self.scheduled.len() {
            if self.records.len() >= RECORD_BYTES_MAX {
                break;
            }
            if let Some(number) = self.scheduled.pop_front() {
                self.pump(now, number);
            }
        }
        self.keep_memory_bound(now);
    }

    /// Handshakes may grow after they were let in.
    fn keep_memory_bound(&mut self, now: Instant) {
        while self.limits.is_memory_short()
            && let Some(&oldest) = self.handshakes.front()
        {
            self.give_up_handshake(now, oldest);
        }
    }

    fn take_input(&mut self, now: Instant, input: &[u8]) {
        let mut at = 0;
        while let Some(header) = input.get(at..at + INPUT_HEADER_BYTES) {
            let length = usize::from(u16::from_le_bytes([header[0], header[1]]));
            let port = u16::from_le_bytes([header[2], header[3]]);
            let mut octets = [0; ADDRESS_BYTES];
            octets.copy_from_slice(&header[4..]);
            let start = at + INPUT_HEADER_BYTES;
            let Some(datagram) = input.get(start..start + length) else { return };
            self.take_datagram(now, address(octets, port), datagram, start);
            at = start + length.next_multiple_of(4);
        }
    }

    fn take_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], at: usize) {
        self.scratch.clear();
        let data = BytesMut::from(datagram);
        match self.endpoint.handle(now, from, None, None, data, &mut self.scratch) {
            None => self.refused(Refusal::BadPacket, at),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(peer)) = self.peers.get_mut(handle.0) {
                    peer.connection.handle_event(event);
                    self.schedule(handle.0);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                let why = refusal_of(&self.scratch);
                self.send_scratch(&transmit);
                self.refused(why, at);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.meet(now, incoming, at),
        }
    }

    /// Decides about a stranger whose first packet is whole.
    fn meet(&mut self, now: Instant, incoming: Incoming, at: usize) {
        let Limits { is_accepting, always_retry, connections, handshakes, .. } = self.limits;
        let is_short = self.limits.is_memory_short();
        let is_full = self.open >= connections || is_short;
        let refusal = if !is_accepting {
            Some(Refusal::Stopping)
        } else if is_full && self.handshakes.is_empty() {
            Some(if is_short { Refusal::Memory } else { Refusal::Full })
        } else {
            None
        };
        if let Some(why) = refusal {
            // The host answers: it can say why, which quinn does not.
            self.endpoint.ignore(incoming);
            self.refused(why, at);
            return;
        }
        let is_crowded = is_full || self.handshakes.len() >= handshakes;
        if !incoming.remote_address_validated() && (always_retry || is_crowded) {
            self.retry(incoming);
            return;
        }
        if is_full && let Some(&oldest) = self.handshakes.front() {
            self.give_up_handshake(now, oldest);
        }
        self.accept(now, incoming, at);
    }

    fn retry(&mut self, incoming: Incoming) {
        self.scratch.clear();
        if let Ok(transmit) = self.endpoint.retry(incoming, &mut self.scratch) {
            self.retries = self.retries.wrapping_add(1);
            self.send_scratch(&transmit);
        }
    }

    fn accept(&mut self, now: Instant, incoming: Incoming, at: usize) {
        let remote = incoming.remote_address();
        self.scratch.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok((handle, connection)) => {
                self.records.push_address(Kind::Accepted, handle.0, remote, &[]);
                self.insert(handle, connection);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.send_scratch(&transmit);
                    // Its hello was whole and TLS refused it: a handshake that failed at once.
                    self.records.push_address(Kind::Accepted, NO_NUMBER, remote, &[]);
                    tell_closed(NO_NUMBER, &error.cause, &mut self.records);
                    self.records.push(Kind::Gone, NO_NUMBER, 0.0, 0, &[]);
                } else {
                    self.refused(Refusal::BadPacket, at);
                }
            }
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, connection: Connection) {
        if self.peers.len() <= handle.0 {
            self.peers.resize_with(handle.0 + 1, || None);
        }
        self.peers[handle.0] = Some(Peer::new(connection));
        self.handshakes.push_back(handle.0);
        self.open += 1;
        self.schedule(handle.0);
    }

    /// Tells the peer once and frees its memory now: quinn would keep it for three timeouts, in which
    /// others begin as fast as they are given up.
    fn give_up_handshake(&mut self, now: Instant, number: usize) {
        self.handshakes.retain(|&other| other != number);
        let Some(mut peer) = self.peers[number].take() else { return };
        peer.connection.close(now, REFUSED, Bytes::new());
        peer.transmit(now, &mut self.scratch, &mut self.records);
        if let Some(time) = peer.timer {
            self.timers.remove(&(time, number));
        }
        self.open -= 1;
        self.endpoint.handle_event(ConnectionHandle(number), EndpointEvent::drained());
        self.records.push(Kind::Closed, number, 2.0, By::Host as u32, &[]);
        self.records.push(Kind::Gone, number, 0.0, 0, &[]);
    }

    /// Does everything that is due for one connection.
    fn pump(&mut self, now: Instant, number: usize) {
        let Self { endpoint, peers, records, scratch, handshakes, open, .. } = self;
        let Some(Some(peer)) = peers.get_mut(number) else { return };
        peer.is_scheduled = false;
        let was_connected = peer.is_connected;
        let mut lost = peer.take_events(number, records);
        let has_more_to_read = peer.read(number, records);
        if peer.close_if_due(now) && lost.is_none() {
            lost = Some(quinn_proto::ConnectionError::LocallyClosed);
        }
        let has_more_to_send = peer.transmit(now, scratch, records);
        let mut is_drained = false;
        while let Some(event) = peer.connection.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(answer) = endpoint.handle_event(ConnectionHandle(number), event) {
                peer.connection.handle_event(answer);
            }
        }
        peer.follow(number, records);
        if peer.is_connected && !was_connected {
            handshakes.retain(|&other| other != number);
        }
        if let Some(reason) = lost.filter(|_| !peer.is_over) {
            tell_closed(number, &reason, records);
            peer.is_over = true;
            handshakes.retain(|&other| other != number);
            *open -= 1;
        }
        let due = if is_drained { None } else { peer.due() };
        let had = std::mem::replace(&mut peer.timer, due);
        if had != due {
            if let Some(time) = had {
                self.timers.remove(&(time, number));
            }
            if let Some(time) = due {
                self.timers.insert((time, number));
            }
        }
        if is_drained {
            self.peers[number] = None;
            self.records.push(Kind::Gone, number, 0.0, 0, &[]);
        } else if has_more_to_read || has_more_to_send {
            self.schedule(number);
        }
    }

    fn peer(&mut self, number: usize) -> Option<&mut Peer> {
        self.peers.get_mut(number)?.as_mut()
    }

    fn schedule(&mut self, number: usize) {
        let Some(Some(peer)) = self.peers.get_mut(number) else { return };
        if !peer.is_scheduled {
            peer.is_scheduled = true;
            self.scheduled.push_back(number);
        }
    }

    fn refused(&mut self, why: Refusal, at: usize) {
        self.records.push(Kind::Refused, 0, at as f64, why as u32, &[]);
    }

    fn send_scratch(&mut self, transmit: &Transmit) {
        let datagram = &self.scratch[..transmit.size];
        self.records.push_address(Kind::Transmit, 0, transmit.destination, datagram);
    }
}

/// What quinn answered to a datagram without a connection: a version negotiation has version zero,
/// another long header closes an Initial with a bad token, and a short one is a stateless reset.
fn refusal_of(answer: &[u8]) -> Refusal {
    match answer {
        [first, 0, 0, 0, 0, ..] if first & 0x80 != 0 => Refusal::Version,
        [first, ..] if first & 0x80 != 0 => Refusal::BadToken,
        _ => Refusal::BadPacket,
    }
}
