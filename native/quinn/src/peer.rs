//! One connection: what quinn knows of it, and what the host was told.
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, Dir, Event, ReadError, StreamEvent, StreamId, VarInt, WriteError,
};
use rustls::pki_types::CertificateDer;

use crate::records::{By, Kind, Records};

/// Bytes handed to the host for one connection in one turn; the rest waits for the others.
const READ_BYTES_MAX: usize = 512 * 1024;
/// Datagrams of one connection in one turn, so that a wide congestion window yields too.
const SEND_DATAGRAMS_MAX: usize = 512;
/// How long a close waits until the peer has acknowledged what was written before.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The host's wish to end the connection.
struct Closing {
    code: VarInt,
    reason: Bytes,
    deadline: Instant,
}

pub struct Peer {
    pub connection: Connection,
    pub is_connected: bool,
    /// Whether it no longer counts: it ended, whatever is still to be sent for it.
    pub is_over: bool,
    /// Whether it is on the list of the next turn.
    pub is_scheduled: bool,
    /// What the timer set stands at.
    pub timer: Option<Instant>,
    remote: SocketAddr,
    is_paused: bool,
    readable: VecDeque<StreamId>,
    /// Streams that bytes were written to and whose end was not.
    written: Vec<StreamId>,
    /// Streams whose end was written and which the peer has not wholly acknowledged.
    finishing: Vec<StreamId>,
    closing: Option<Closing>,
}

impl Peer {
    pub fn new(connection: Connection) -> Self {
        Self {
            remote: connection.remote_address(),
            connection,
            is_connected: false,
            is_over: false,
            is_scheduled: false,
            timer: None,
            is_paused: false,
            readable: VecDeque::new(),
            written: Vec::new(),
            finishing: Vec::new(),
            closing: None,
        }
    }

    pub fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Bytes that were taken; None where the stream is gone, or not for us to write.
    pub fn write(&mut self, id: StreamId, bytes: &[u8], is_last: bool) -> Option<usize> {
        if id.dir() == Dir::Uni && id.initiator() != self.connection.side() {
            return None;
        }
        let mut stream = self.connection.send_stream(id);
        let mut taken = 0;
        // Only a write that is refused makes the stack say when more may be written.
        while taken < bytes.len() {
            match stream.write(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(WriteError::Blocked) => {
                    remember(&mut self.written, id);
                    return Some(taken);
                }
                Err(_) => {
                    self.forget(id);
                    return None;
                }
            }
        }
        // It fails where the peer has stopped the stream, which needs no end then.
        if is_last && stream.finish().is_ok() {
            self.written.retain(|&other| other != id);
            remember(&mut self.finishing, id);
        } else if !is_last {
            remember(&mut self.written, id);
        }
        Some(taken)
    }

    /// The stream is over: nothing of it is waited for.
    fn forget(&mut self, id: StreamId) {
        self.written.retain(|&other| other != id);
        self.finishing.retain(|&other| other != id);
    }

    /// Ends the connection once the peer has what was written before, or after `CLOSE_WAIT`.
    pub fn close(&mut self, now: Instant, code: VarInt, reason: Bytes) {
        if self.closing.is_some() || self.is_over {
            return;
        }
        // With a window of one byte, a write succeeds only when nothing is unacknowledged.
        self.connection.set_send_window(1);
        self.closing = Some(Closing { code, reason, deadline: now + CLOSE_WAIT });
    }

    /// Carries out a close whose time has come; true where it did.
    pub fn close_if_due(&mut self, now: Instant) -> bool {
        let is_due = match &self.closing {
            Some(closing) => now >= closing.deadline || !self.is_connected,
            None => return false,
        };
        if self.is_over || !(is_due || self.is_all_acknowledged()) {
            return false;
        }
        let Some(Closing { code, reason, .. }) = self.closing.take() else { return false };
        self.connection.close(now, code, reason);
        true
    }

    fn is_all_acknowledged(&mut self) -> bool {
        let Self { connection, written, finishing, .. } = self;
        let is_blocked = |&id: &StreamId| {
            matches!(connection.send_stream(id).write(&[]), Err(WriteError::Blocked))
        };
        finishing.is_empty() && !written.iter().any(is_blocked)
    }

    /// The next time at which something is due.
    pub fn due(&mut self) -> Option<Instant> {
        let deadline = self.closing.as_ref().map(|closing| closing.deadline);
        match (self.connection.poll_timeout(), deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Turns what quinn has to say into records. Returns why the connection was lost, if it was.
    pub fn take_events(&mut self, number: usize, records: &mut Records) -> Option<ConnectionError> {
        let mut lost = None;
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    self.is_connected = true;
                    self.tell_certificates(number, records);
                }
                Event::ConnectionLost { reason } => lost = Some(reason),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(stream) = self.connection.streams().accept(dir) {
                        self.readable.push_back(stream);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    if !self.readable.contains(&id) {
                        self.readable.push_back(id);
                    }
                }
                Event::Stream(StreamEvent::Writable { id }) => {
                    records.push(Kind::Writable, number, stream_value(id), 0, &[]);
                }
                Event::Stream(StreamEvent::Finished { id }) => self.forget(id),
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    self.forget(id);
                    // It fails where the stream is over. The host finds out by its next write.
                    let _ = self.connection.send_stream(id).reset(VarInt::from_u32(0));
                    records.push(Kind::Writable, number, stream_value(id), 0, &[]);
                }
                _ => {}
            }
        }
        lost
    }

    fn tell_certificates(&mut self, number: usize, records: &mut Records) {
        let at = records.begin(Kind::Connected, number, 0.0, 0);
        let identity = self.connection.crypto_session().peer_identity();
        let chain = identity.and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
        for certificate in chain.iter().flat_map(|chain| chain.iter()) {
            records.append(&(certificate.len() as u32).to_le_bytes());
            records.append(certificate);
        }
        records.end(at);
    }

    /// Hands on what can be read, within the bound of a turn; true where more is waiting.
    pub fn read(&mut self, number: usize, records: &mut Records) -> bool {
        let mut left = READ_BYTES_MAX;
        while !self.is_paused && !self.is_over && self.closing.is_none() {
            let Some(&stream) = self.readable.front() else { return false };
            if left == 0 {
                return true;
            }
            let (read, is_exhausted) = self.read_stream(number, stream, left, records);
            left -= read;
            if is_exhausted {
                self.readable.pop_front();
            }
        }
        false
    }

    /// Returns the bytes read and whether the stream has no more for now.
    fn read_stream(
        &mut self,
        number: usize,
        stream: StreamId,
        limit: usize,
        records: &mut Records,
    ) -> (usize, bool) {
        let mut receiver = self.connection.recv_stream(stream);
        let Ok(mut chunks) = receiver.read(true) else { return (0, true) };
        let at = records.begin(Kind::Data, number, stream_value(stream), 0);
        let mut end = 0;
        let mut is_exhausted = true;
        loop {
            let left = limit - records.payload_bytes(at);
            if left == 0 {
                is_exhausted = false;
                break;
            }
            match chunks.next(left) {
                Ok(Some(chunk)) => records.append(&chunk.bytes),
                Ok(None) => {
                    end = 1;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(_)) => {
                    end = 2;
                    break;
                }
            }
        }
        // Whether windows must be told to the peer is found out again when datagrams are made.
        let _ = chunks.finalize();
        let read = records.payload_bytes(at);
        if read == 0 && end == 0 {
            records.drop_from(at);
        } else {
            records.set_extra(at, end);
            records.end(at);
        }
        (read, is_exhausted)
    }

    /// Puts datagrams to send into the records; true where the bound of a turn left some.
    pub fn transmit(&mut self, now: Instant, scratch: &mut Vec<u8>, records: &mut Records) -> bool {
        for _ in 0..SEND_DATAGRAMS_MAX {
            scratch.clear();
            let Some(transmit) = self.connection.poll_transmit(now, 1, scratch) else {
                return false;
            };
            let datagram = &scratch[..transmit.size];
            records.push_address(Kind::Transmit, 0, transmit.destination, datagram);
        }
        true
    }

    /// Says where the peer is, if it has moved.
    pub fn follow(&mut self, number: usize, records: &mut Records) {
        let remote = self.connection.remote_address();
        if !self.is_connected || remote == self.remote {
            return;
        }
        self.remote = remote;
        records.push_address(Kind::Moved, number, remote, &[]);
    }
}

fn remember(streams: &mut Vec<StreamId>, id: StreamId) {
    if !streams.contains(&id) {
        streams.push(id);
    }
}

/// Tells the host how the connection ended.
pub fn tell_closed(number: usize, reason: &ConnectionError, records: &mut Records) {
    let (by, code, text) = match reason {
        ConnectionError::ApplicationClosed(close) => (
            By::PeerApplication,
            close.error_code.into_inner(),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        ConnectionError::ConnectionClosed(close) => (
            By::PeerTransport,
            u64::from(close.error_code),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        ConnectionError::TransportError(error) => {
            (By::LocalTransport, u64::from(error.code), error.reason.clone())
        }
        ConnectionError::TimedOut => (By::Idle, 0, reason.to_string()),
        ConnectionError::LocallyClosed => (By::Host, 0, reason.to_string()),
        ConnectionError::Reset => (By::Reset, 0, reason.to_string()),
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
            (By::LocalTransport, 0, reason.to_string())
        }
    };
    records.push(Kind::Closed, number, code as f64, by as u32, text.as_bytes());
}

/// A stream's id as the ABI has it: below 2^53, which no connection lives long enough to reach.
pub fn stream_value(stream: StreamId) -> f64 {
    VarInt::from(stream).into_inner() as f64
}
