//! A client of the Telemetry Collector: sends two metrics of a pretended GPU, loses none.
//!
//! The rules are in docs/protocol.md; each is marked where it is kept. The outbox holds every batch
//! until the collector's final answer, whatever happens to the connection.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

/// The wire contract, compiled from proto/telemetry.proto.
mod contract {
    #![allow(clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/horizon.telemetry.v1.rs"));
}
use contract::collector_message::Message as Said;
use contract::{AckStatus, BatchAck, CollectorMessage, Hello, MetricBatch, MetricKind, Series, SeriesTable};

type Failure = Box<dyn std::error::Error>;

const ALPN: &[u8] = b"horizon-telemetry/1";
/// Batches; what comes beyond is dropped, memory is not endless.
const MOST_WAITING: usize = 10_000;
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const PUMP_INTERVAL: Duration = Duration::from_millis(50);
/// The largest message of a collector that is believed.
const MAX_MESSAGE: usize = 1 << 20;

/// The series: as long as they stay the same, so must their bytes.
fn series_table() -> SeriesTable {
    let symbols = ["", "GPU_TEMP", "Cel", "GPU_POWER", "W", "gpu", "0"];
    let gauge = |name, unit| Series { name, unit, labels: vec![5, 6], kind: MetricKind::Gauge.into() };
    SeriesTable { symbols: symbols.map(String::from).into(), series: vec![gauge(1, 2), gauge(3, 4)] }
}

/// A batch that waits for its final answer.
struct Waiting {
    message: MetricBatch,
    /// Set by THROTTLED.
    not_before: Instant,
    /// On the connection there is now.
    in_flight: bool,
}

/// The batches without a final answer, by their numbers.
struct Outbox {
    /// New and larger at every start.
    epoch: u64,
    next: u64,
    batches: BTreeMap<u64, Waiting>,
    dropped: u64,
}

impl Outbox {
    fn measure(&mut self) {
        if self.batches.len() >= MOST_WAITING {
            self.dropped += 1; // without taking a number: numbers have no holes
            return;
        }
        let now = unix_ms();
        let swing = (now as f64 / 60_000.0).sin();
        let message = MetricBatch {
            schema_version: 1,
            epoch: self.epoch,
            sequence: self.next,
            series_table: Some(series_table()),
            series: vec![0, 1],
            timestamp_delta_ms: vec![now as i64, 0],
            value: vec![60.0 + 15.0 * swing, 400.0 + 200.0 * swing],
            ..MetricBatch::default()
        };
        let waiting = Waiting { message, not_before: Instant::now(), in_flight: false };
        self.batches.insert(self.next, waiting);
        self.next += 1;
    }

    fn answer(&mut self, sequence: u64, ack: &BatchAck) {
        if ack.status() == AckStatus::Throttled {
            if let Some(batch) = self.batches.get_mut(&sequence) {
                batch.in_flight = false;
                batch.not_before = Instant::now() + Duration::from_millis(ack.retry_after_ms.into());
            }
            return;
        }
        if ack.rejected > 0 {
            // Final all the same: sending it again changes nothing.
            eprintln!("batch {sequence}: {} samples refused: {:?} {}", ack.rejected, ack.rejections, ack.message);
        }
        self.batches.remove(&sequence);
    }
}

/// One connection. A lost one is replaced as a whole, so nothing of it can linger.
struct Link {
    sender: quinn::SendStream,
    hello: Option<Hello>,
    /// The sequence that each frame of the stream carries.
    frames: Vec<u64>,
    sent_table: Vec<u8>,
    received: Vec<u8>,
}

impl Link {
    /// Sends what may be sent: in order, within the window, THROTTLED ones when it is time.
    async fn pump(&mut self, outbox: &mut Outbox) -> Result<(), Failure> {
        let Some(hello) = &self.hello else { return Ok(()) };
        let names_tables = hello.accepts_series_table_id;
        // A collector from before the field says 0.
        let window = if hello.sequence_window == 0 { 1024 } else { hello.sequence_window.into() };
        let lowest = outbox.batches.keys().next().copied().unwrap_or_default();
        for (&sequence, batch) in outbox.batches.range_mut(..lowest + window) {
            if batch.in_flight || batch.not_before > Instant::now() {
                continue;
            }
            let payload = self.encode(&batch.message, names_tables);
            let frame = [&(payload.len() as u32).to_be_bytes(), payload.as_slice()].concat();
            // The first byte of the first frame opened the stream.
            let start = usize::from(self.frames.is_empty());
            batch.in_flight = true;
            self.frames.push(sequence);
            self.sender.write_all(&frame[start..]).await?;
        }
        Ok(())
    }

    /// Names the table where it is that of the frame before on this connection.
    fn encode(&mut self, message: &MetricBatch, names_tables: bool) -> Vec<u8> {
        let table = message.series_table.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        if table != self.sent_table || !names_tables {
            self.sent_table = table;
            return message.encode_to_vec();
        }
        let id = Sha256::digest(&table)[..16].to_vec();
        MetricBatch { series_table: None, series_table_id: id, ..message.clone() }.encode_to_vec()
    }

    /// Takes bytes of the collector, and every message that is whole with them.
    fn take(&mut self, bytes: &[u8], outbox: &mut Outbox) -> Result<(), Failure> {
        self.received.extend_from_slice(bytes);
        while let Some((header, rest)) = self.received.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > MAX_MESSAGE {
                return Err("the collector's message is too long".into());
            }
            let Some(payload) = rest.get(..length) else { break };
            match CollectorMessage::decode(payload)?.message {
                Some(Said::Hello(hello)) => self.hello = Some(hello),
                Some(Said::Ack(ack)) => {
                    // The frame names the batch even where the collector could not read its numbers.
                    let by_frame = (ack.frame as usize).checked_sub(1).and_then(|at| self.frames.get(at));
                    outbox.answer(by_frame.copied().unwrap_or(ack.sequence), &ack);
                }
                None => {} // of a later version
            }
            self.received.drain(..4 + length);
        }
        Ok(())
    }
}

/// Runs one connection until it ends; `greeted` tells whether Hello came.
async fn serve(
    endpoint: &quinn::Endpoint,
    server: &str,
    outbox: &mut Outbox,
    ticks: &mut Interval,
    greeted: &mut bool,
) -> Result<(), Failure> {
    let (host, _) = server.rsplit_once(':').ok_or("server is host:port")?;
    let address = server.to_socket_addrs()?.find(|one| one.is_ipv4()).ok_or("no IPv4 address")?;
    let connection = timeout(LONGEST_DELAY, endpoint.connect(address, host)?).await??;
    let (mut sender, mut receiver) = connection.open_bi().await?;
    // The first byte of the first frame's length, which is 0: the collector greets a stream that it
    // has seen. Connected we are only when Hello comes.
    sender.write_all(&[0]).await?;
    outbox.batches.values_mut().for_each(|batch| batch.in_flight = false);
    let mut link =
        Link { sender, hello: None, frames: vec![], sent_table: vec![], received: vec![] };
    let mut pump = interval(PUMP_INTERVAL);
    pump.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            why = connection.closed() => return Err(why.into()),
            chunk = receiver.read_chunk(MAX_MESSAGE, true) => {
                let chunk = chunk?.ok_or("the collector ended the stream")?;
                link.take(&chunk.bytes, outbox)?;
                *greeted = link.hello.is_some();
            }
            _ = ticks.tick() => outbox.measure(),
            _ = pump.tick() => link.pump(outbox).await?,
        }
    }
}

fn client_config() -> Result<quinn::ClientConfig, Failure> {
    let mut authorities = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(setting("ca")?)? {
        authorities.add(authority?)?;
    }
    let chain = CertificateDer::pem_file_iter(setting("cert")?)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(setting("key")?)?;
    let mut tls = rustls::ClientConfig::builder()
        .with_root_certificates(authorities)
        .with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(15).try_into()?)); // a killed collector says nothing
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// `--name value` on the command line, or TELEMETRY_NAME in the environment.
fn setting(name: &str) -> Result<String, Failure> {
    let words: Vec<String> = std::env::args().collect();
    let given = words.windows(2).find(|pair| pair[0] == format!("--{name}"));
    let variable = format!("TELEMETRY_{}", name.to_uppercase());
    given.map_or_else(|| std::env::var(&variable).ok(), |pair| Some(pair[1].clone()))
        .ok_or_else(|| format!("give --{name}, or set {variable}").into())
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let server = setting("server")?;
    let mut endpoint = quinn::Endpoint::client("0.0.0.0:0".parse()?)?;
    endpoint.set_default_client_config(client_config()?);
    let mut outbox = Outbox { epoch: unix_ms(), next: 1, batches: BTreeMap::new(), dropped: 0 };
    let mut ticks = interval(Duration::from_millis(100));
    let mut delay = FIRST_DELAY;
    loop {
        let mut greeted = false;
        if let Err(why) = serve(&endpoint, &server, &mut outbox, &mut ticks, &mut greeted).await {
            eprintln!("connection ended: {why}");
        }
        if greeted {
            delay = FIRST_DELAY;
        }
        // Jitter, or all agents of a restarted collector come back in the same instant.
        let wait = sleep(delay.mul_f64(rand::random_range(0.5..1.5)));
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => break,
                _ = ticks.tick() => outbox.measure(),
            }
        }
        delay = (2 * delay).min(LONGEST_DELAY);
    }
}
