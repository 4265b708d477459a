// A client of the Telemetry Collector: sends two metrics of a pretended GPU, loses none.
//
// The rules are in docs/protocol.md; each is marked where it is kept. The outbox holds every batch
// until the collector's final answer, whatever happens to the connection.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"flag"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"example.com/telemetry-client/telemetrypb"
)

const (
	alpn         = "horizon-telemetry/1"
	mostWaiting  = 10_000 // batches; what comes beyond is dropped, memory is not endless
	firstDelay   = 250 * time.Millisecond
	longestDelay = 10 * time.Second
	pumpInterval = 50 * time.Millisecond
	maxMessage   = 1 << 20 // the largest message of a collector that is believed
)

// The series: as long as they stay the same, so must their bytes.
var table = &telemetrypb.SeriesTable{
	Symbols: []string{"", "GPU_TEMP", "Cel", "GPU_POWER", "W", "gpu", "0"},
	Series: []*telemetrypb.Series{
		{Name: 1, Labels: []uint32{5, 6}, Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE, Unit: 2},
		{Name: 3, Labels: []uint32{5, 6}, Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE, Unit: 4},
	},
}

// batch waits for its final answer.
type batch struct {
	sequence  uint64
	message   *telemetrypb.MetricBatch
	notBefore time.Time // set by THROTTLED
	inFlight  bool      // on the connection there is now
}

// outbox holds the batches without a final answer, in the order of their numbers.
type outbox struct {
	epoch   uint64 // new and larger at every start
	next    uint64
	batches []*batch
	dropped int
}

func (o *outbox) measure() {
	if len(o.batches) >= mostWaiting {
		o.dropped++ // without taking a number: numbers have no holes
		return
	}
	now := time.Now()
	swing := math.Sin(float64(now.Unix()) / 60)
	o.batches = append(o.batches, &batch{sequence: o.next, message: &telemetrypb.MetricBatch{
		SchemaVersion:    1,
		Epoch:            o.epoch,
		Sequence:         o.next,
		SeriesTable:      table,
		Series:           []uint32{0, 1},
		TimestampDeltaMs: []int64{now.UnixMilli(), 0},
		Value:            []float64{60 + 15*swing, 400 + 200*swing},
	}})
	o.next++
}

func (o *outbox) answer(sequence uint64, ack *telemetrypb.BatchAck) {
	for i, b := range o.batches {
		if b.sequence != sequence {
			continue
		}
		b.inFlight = false
		if ack.Status == telemetrypb.AckStatus_ACK_STATUS_THROTTLED {
			b.notBefore = time.Now().Add(time.Duration(ack.RetryAfterMs) * time.Millisecond)
			return
		}
		if ack.Rejected > 0 { // final all the same: sending it again changes nothing
			log.Printf("batch %d: %d samples refused: %v %s", sequence, ack.Rejected, ack.Rejections, ack.Message)
		}
		o.batches = append(o.batches[:i], o.batches[i+1:]...)
		return
	}
}

// link is one connection. A lost one is replaced as a whole, so nothing of it can linger.
type link struct {
	stream    *quic.Stream
	hello     *telemetrypb.Hello
	frames    []uint64 // the sequence that each frame of the stream carries
	sentTable [sha256.Size]byte
}

// pump sends what may be sent: in order, within the window, THROTTLED ones when it is time.
func (l *link) pump(o *outbox) error {
	window := uint64(l.hello.SequenceWindow)
	if window == 0 {
		window = 1024 // a collector from before the field
	}
	for _, b := range o.batches {
		if b.sequence-o.batches[0].sequence >= window {
			break
		}
		if b.inFlight || time.Now().Before(b.notBefore) {
			continue
		}
		payload, err := l.encode(b.message)
		if err != nil {
			return err
		}
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
		if len(l.frames) == 0 {
			frame = frame[1:] // its first byte opened the stream
		}
		b.inFlight = true
		l.frames = append(l.frames, b.sequence)
		if _, err := l.stream.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// encode names the table where it is that of the frame before on this connection.
func (l *link) encode(message *telemetrypb.MetricBatch) ([]byte, error) {
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(message.SeriesTable)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(bytes)
	if id != l.sentTable || !l.hello.AcceptsSeriesTableId {
		l.sentTable = id
		return proto.Marshal(message)
	}
	short := proto.CloneOf(message)
	short.SeriesTable = nil
	short.SeriesTableId = id[:16]
	return proto.Marshal(short)
}

// read hands on what the collector says until the stream ends.
func read(ctx context.Context, stream io.Reader, messages chan<- *telemetrypb.CollectorMessage) error {
	defer close(messages)
	var header [4]byte
	for {
		if _, err := io.ReadFull(stream, header[:]); err != nil {
			return err
		}
		length := binary.BigEndian.Uint32(header[:])
		if length > maxMessage {
			return io.ErrShortBuffer
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(stream, payload); err != nil {
			return err
		}
		message := &telemetrypb.CollectorMessage{}
		if err := proto.Unmarshal(payload, message); err != nil {
			return err
		}
		select {
		case messages <- message:
		case <-ctx.Done(): // nobody listens any more
			return ctx.Err()
		}
	}
}

// serve runs one connection until it ends; greeted tells whether Hello came.
func serve(server string, config *tls.Config, o *outbox, ticks <-chan time.Time) (greeted bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connection, err := quic.DialAddr(ctx, server, config, &quic.Config{
		MaxIdleTimeout:  15 * time.Second, // a killed collector says nothing
		KeepAlivePeriod: 5 * time.Second,
	})
	if err != nil {
		return false, err
	}
	defer connection.CloseWithError(0, "reconnecting")
	stream, err := connection.OpenStreamSync(ctx)
	if err != nil {
		return false, err
	}
	// The first byte of the first frame's length, which is 0: the collector greets a stream that it
	// has seen. Connected we are only when Hello comes.
	if _, err := stream.Write([]byte{0}); err != nil {
		return false, err
	}
	for _, b := range o.batches {
		b.inFlight = false
	}
	l := &link{stream: stream}
	messages := make(chan *telemetrypb.CollectorMessage, 64)
	ended := make(chan error, 1)
	go func() { ended <- read(ctx, stream, messages) }()
	pump := time.NewTicker(pumpInterval)
	defer pump.Stop()
	for {
		select {
		case message, ok := <-messages:
			if !ok {
				return l.hello != nil, <-ended
			}
			if hello := message.GetHello(); hello != nil {
				l.hello = hello
			}
			if ack := message.GetAck(); ack != nil {
				// The frame names the batch even where the collector could not read its numbers.
				sequence := ack.Sequence
				if ack.Frame > 0 && ack.Frame <= uint64(len(l.frames)) {
					sequence = l.frames[ack.Frame-1]
				}
				o.answer(sequence, ack)
			}
		case <-ticks:
			o.measure()
		case <-pump.C:
			if l.hello == nil {
				continue
			}
			if err := l.pump(o); err != nil {
				return true, err
			}
		}
	}
}

func main() {
	server := flag.String("server", os.Getenv("TELEMETRY_SERVER"), "host:port of the collector")
	ca := flag.String("ca", os.Getenv("TELEMETRY_CA"), "authorities of the collector's certificate, PEM")
	cert := flag.String("cert", os.Getenv("TELEMETRY_CERT"), "our certificate, PEM")
	key := flag.String("key", os.Getenv("TELEMETRY_KEY"), "its private key, PEM")
	interval := flag.Duration("interval", 100*time.Millisecond, "between two batches")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	authorities := x509.NewCertPool()
	if pem, err := os.ReadFile(*ca); err != nil || !authorities.AppendCertsFromPEM(pem) {
		log.Fatalf("cannot read %s: %v", *ca, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: authorities, NextProtos: []string{alpn},
	}
	o := &outbox{epoch: uint64(time.Now().UnixMilli()), next: 1}
	ticks := time.NewTicker(*interval)
	for delay := firstDelay; ; delay = min(2*delay, longestDelay) {
		greeted, err := serve(*server, config, o, ticks.C)
		log.Printf("connection ended: %v", err)
		if greeted {
			delay = firstDelay
		}
		// Jitter, or all agents of a restarted collector come back in the same instant.
		retry := time.After(time.Duration(float64(delay) * (0.5 + rand.Float64())))
		for waiting := true; waiting; {
			select {
			case <-ticks.C:
				o.measure()
			case <-retry:
				waiting = false
			}
		}
	}
}
