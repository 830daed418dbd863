// Package record keeps the state of a run in a JetStream key-value bucket on disk: small JSON
// values, each replaced only by who has seen the one before, and synced before the call returns.
//
// The bucket is on an embedded server of its own, which listens nowhere. The bus's server is part of
// a cluster of routes: there JetStream asks a quorum of servers that come and go, and the state of a
// run must be there for a coordinator that is alone.
package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket       = "run"
	startTimeout = 10 * time.Second
	callTimeout  = 10 * time.Second
	maxBytes     = 256 << 20 // Of the bucket on disk; values are small, and only the last of each is kept.
	maxValue     = 4 << 20
)

// ErrConflict reports that the value is another one than the caller has seen: somebody else writes to
// this run. The caller ends.
var ErrConflict = errors.New("somebody else has changed the run's record")

// Store is an open bucket. Its methods are safe for concurrent use.
type Store struct {
	server *server.Server
	conn   *nats.Conn
	bucket jetstream.KeyValue
}

// Open opens the bucket kept in dir, or makes it. The caller holds a lock on dir, and closes the store.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create folder of the run's record: %w", err)
	}
	s, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the run's record in %s: %w; restore the folder, or remove it to go on from manifest and checkpoint", dir, err)
	}
	return s, nil
}

func open(dir string) (*Store, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "record", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: maxBytes, MaxPayload: maxValue,
	})
	if err != nil {
		return nil, err
	}
	srv.Start()
	s := &Store{server: srv}
	if !srv.ReadyForConnections(startTimeout) {
		s.Close()
		return nil, fmt.Errorf("its server is not ready after %v", startTimeout)
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(srv)); err == nil {
		err = s.openBucket()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) openBucket() error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	s.bucket, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Storage: jetstream.FileStorage, MaxValueSize: maxValue})
	return err
}

// Get decodes the value of key into v. The revision is 0, and v untouched, when there is none.
func (s *Store) Get(key string, v any) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	entry, err := s.bucket.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), v)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s of the run's record: %w", key, err)
	}
	return entry.Revision(), nil
}

// Put replaces the value of key whose revision is the given one, 0 for none, and returns the new
// revision once it is on disk. It returns ErrConflict when the value is another one by now.
func (s *Store) Put(key string, v any, revision uint64) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("encode %s of the run's record: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	next, err := s.bucket.Update(ctx, key, data, revision)
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return 0, fmt.Errorf("write %s: %w", key, ErrConflict)
	}
	if err != nil {
		return 0, fmt.Errorf("write %s of the run's record: %w; free some space and --resume the run", key, err)
	}
	return next, nil
}

// Close stops the server. What was put is on disk.
func (s *Store) Close() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
