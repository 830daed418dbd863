// Package checkpointstore keeps a run's checkpoints in S3-compatible storage, beside the run folder.
//
// A checkpoint's files are objects PREFIX/RUN/step-NNNNNN/PATH. SHA256SUMS, which names them all with their digests, is
// written last and removed first: a checkpoint without it does not count. Credentials come from the environment
// (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with AWS_SESSION_TOKEN) or ~/.aws/credentials, and stand in no message.
package checkpointstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"yohaku/coordinator/runstore"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	maxSumsBytes = 1 << 20
	partBytes    = 16 << 20 // Of an upload; it bounds the memory that one takes.
)

// Store holds checkpoints of one run.
type Store struct {
	client *minio.Client
	bucket string
	prefix string // Ends in a slash.
	name   string // For messages.
}

// Parse checks the text of --checkpoint-store, s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION&insecure=true. Only
// the bucket must be there; the endpoint is Amazon's without one. insecure allows plain HTTP.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it does not parse as a URL; it must be s3://BUCKET/PREFIX?endpoint=HOST:PORT") // The text may hold a secret.
	}
	if u.User != nil {
		return nil, errors.New("it holds a user or password; give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Scheme != "s3" || u.Host == "" {
		return nil, fmt.Errorf("must be s3://BUCKET/PREFIX, got %q", text)
	}
	for key := range u.Query() {
		if !slices.Contains([]string{"endpoint", "region", "insecure"}, key) {
			return nil, fmt.Errorf("has the setting %q; known are endpoint, region and insecure", key)
		}
	}
	if v := u.Query().Get("insecure"); v != "" && v != "true" && v != "false" {
		return nil, fmt.Errorf("insecure must be true or false, got %q", v)
	}
	return u, nil
}

// Open opens the store of the run at the URL, without a connection yet.
func Open(text, run string) (*Store, error) {
	u, err := Parse(text)
	if err != nil {
		return nil, err
	}
	secrets := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}})
	if v, err := secrets.GetWithContext(nil); err != nil || v.SignerType.IsAnonymous() {
		return nil, errors.New("no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials")
	}
	client, err := minio.New(cmp.Or(u.Query().Get("endpoint"), "s3.amazonaws.com"), &minio.Options{
		Creds: secrets, Secure: u.Query().Get("insecure") != "true", Region: u.Query().Get("region"), MaxRetries: 4,
	})
	if err != nil {
		return nil, fmt.Errorf("open S3 storage: %w", err)
	}
	prefix := path.Join(strings.Trim(u.Path, "/"), run) + "/"
	return &Store{client: client, bucket: u.Host, prefix: prefix, name: "s3://" + u.Host + "/" + prefix}, nil
}

// String names the place.
func (s *Store) String() string { return s.name }

func (s *Store) key(step int, name string) string {
	return fmt.Sprintf("%sstep-%06d/%s", s.prefix, step, name)
}

// Put stores the checkpoint folder dir of a step. One that is there already is left alone.
func (s *Store) Put(ctx context.Context, step int, dir string) error {
	sums, err := os.ReadFile(filepath.Join(dir, runstore.SumsName))
	if err != nil {
		return fmt.Errorf("store checkpoint: %w", err)
	}
	if there, err := s.sums(ctx, step); err == nil && bytes.Equal(there, sums) {
		return nil
	}
	files, err := runstore.ReadSums(bytes.NewReader(sums))
	if err != nil {
		return fmt.Errorf("store checkpoint %s: %w", dir, err)
	}
	for _, name := range files.Paths() {
		_, err := s.client.FPutObject(ctx, s.bucket, s.key(step, name), filepath.Join(dir, filepath.FromSlash(name)), minio.PutObjectOptions{PartSize: partBytes, NumThreads: 2})
		if err != nil {
			return fmt.Errorf("store %s in %s: %w", name, s, err)
		}
	}
	if _, err := s.client.PutObject(ctx, s.bucket, s.key(step, runstore.SumsName), bytes.NewReader(sums), int64(len(sums)), minio.PutObjectOptions{}); err != nil {
		return fmt.Errorf("store %s in %s: %w", runstore.SumsName, s, err)
	}
	return nil
}

// sums reads the list of a checkpoint's files.
func (s *Store) sums(ctx context.Context, step int) ([]byte, error) {
	o, err := s.client.GetObject(ctx, s.bucket, s.key(step, runstore.SumsName), minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", runstore.SumsName, s, err)
	}
	defer o.Close() // Only read.
	data, err := io.ReadAll(io.LimitReader(o, maxSumsBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", runstore.SumsName, s, err)
	}
	if len(data) > maxSumsBytes {
		return nil, fmt.Errorf("%s in %s has more than %d bytes", runstore.SumsName, s, maxSumsBytes)
	}
	return data, nil
}

// Steps lists the whole checkpoints that are stored, oldest first.
func (s *Store) Steps(ctx context.Context) ([]int, error) {
	var steps []int
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list %s: %w", s, o.Err)
		}
		var step int
		name, whole := strings.CutSuffix(strings.TrimPrefix(o.Key, s.prefix), "/"+runstore.SumsName)
		if n, err := fmt.Sscanf(name, "step-%d", &step); whole && n == 1 && err == nil && s.key(step, runstore.SumsName) == o.Key {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// Get writes a stored checkpoint's files into dir. Their digests are the caller's to check.
func (s *Store) Get(ctx context.Context, step int, dir string) error {
	sums, err := s.sums(ctx, step)
	if err != nil {
		return err
	}
	files, err := runstore.ReadSums(bytes.NewReader(sums))
	if err != nil {
		return fmt.Errorf("fetch checkpoint from %s: %w", s, err)
	}
	for _, name := range files.Paths() {
		if err := s.client.FGetObject(ctx, s.bucket, s.key(step, name), filepath.Join(dir, filepath.FromSlash(name)), minio.GetObjectOptions{}); err != nil {
			return fmt.Errorf("fetch %s from %s: %w", name, s, err)
		}
	}
	return os.WriteFile(filepath.Join(dir, runstore.SumsName), sums, 0o644)
}

// Prune removes the oldest checkpoints so that at most limit stay; 0 keeps all.
func (s *Store) Prune(ctx context.Context, limit int) error {
	steps, err := s.Steps(ctx)
	if err != nil || limit <= 0 {
		return err
	}
	for _, step := range steps[:max(0, len(steps)-limit)] {
		if err := s.client.RemoveObject(ctx, s.bucket, s.key(step, runstore.SumsName), minio.RemoveObjectOptions{}); err != nil {
			return fmt.Errorf("remove old checkpoint from %s: %w", s, err)
		}
		for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.key(step, ""), Recursive: true}) {
			if o.Err == nil {
				o.Err = s.client.RemoveObject(ctx, s.bucket, o.Key, minio.RemoveObjectOptions{})
			}
			if o.Err != nil {
				return fmt.Errorf("remove old checkpoint from %s: %w", s, o.Err)
			}
		}
	}
	return nil
}
