package instance

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stele/notary"
)

// objectTimes measure the calls of the object store.
type objectTimes struct {
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
}

func newObjectTimes() *objectTimes {
	return &objectTimes{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stele_object_duration_seconds",
			Help:    "Time of the object store's operations; of open that until the first byte can be read.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}},
			[]string{"operation"}),
		errors: counters("stele_object_errors_total",
			"Operations of the object store that failed; an object that is not there is no failure.", "operation")}
}

// Describe implements prometheus.Collector.
func (o *objectTimes) Describe(ch chan<- *prometheus.Desc) {
	o.duration.Describe(ch)
	o.errors.Describe(ch)
}

// Collect implements prometheus.Collector.
func (o *objectTimes) Collect(ch chan<- prometheus.Metric) {
	o.duration.Collect(ch)
	o.errors.Collect(ch)
}

// timed is an object store whose calls are measured.
type timed struct {
	ObjectStore
	times *objectTimes
}

// unwrapped is the object store itself, for what only one kind can do.
func unwrapped(s ObjectStore) ObjectStore {
	if t, ok := s.(*timed); ok {
		return t.ObjectStore
	}
	return s
}

// done measures an operation. What the caller broke off, and answers that are part of the contract, are
// no failures of the store.
func (o *objectTimes) done(operation string, start time.Time, err error) {
	o.duration.WithLabelValues(operation).Observe(time.Since(start).Seconds())
	failed := o.errors.WithLabelValues(operation) // there is a series before the first failure
	if err != nil && !errors.Is(err, notary.ErrObjectNotFound) && !errors.Is(err, notary.ErrObjectDiffers) &&
		!errors.Is(err, context.Canceled) {
		failed.Inc()
	}
}

func (t *timed) Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error) {
	start := time.Now()
	o, err := t.ObjectStore.Create(ctx, key, r, size)
	t.times.done("create", start, err)
	return o, err
}

func (t *timed) Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error) {
	start := time.Now()
	r, o, err := t.ObjectStore.Open(ctx, key, version)
	t.times.done("open", start, err)
	return r, o, err
}

func (t *timed) Get(ctx context.Context, key string, max int64) ([]byte, error) {
	start := time.Now()
	b, err := t.ObjectStore.Get(ctx, key, max)
	t.times.done("get", start, err)
	return b, err
}

func (t *timed) PutOnce(ctx context.Context, key string, data []byte) error {
	start := time.Now()
	err := t.ObjectStore.PutOnce(ctx, key, data)
	t.times.done("put", start, err)
	return err
}

func (t *timed) PutOnceAll(ctx context.Context, objects map[string][]byte) error {
	start := time.Now()
	err := t.ObjectStore.PutOnceAll(ctx, objects)
	t.times.done("put_all", start, err)
	return err
}

func (t *timed) Replace(ctx context.Context, key string, next func([]byte) ([]byte, error)) error {
	start := time.Now()
	err := t.ObjectStore.Replace(ctx, key, next)
	t.times.done("replace", start, err)
	return err
}

func (t *timed) List(ctx context.Context, prefix string, fn func(notary.Object) error) error {
	start := time.Now()
	err := t.ObjectStore.List(ctx, prefix, fn)
	t.times.done("list", start, err)
	return err
}

func (t *timed) Delete(ctx context.Context, key string) error {
	start := time.Now()
	err := t.ObjectStore.Delete(ctx, key)
	t.times.done("delete", start, err)
	return err
}
