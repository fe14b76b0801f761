package instance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"stele/notary"
	"stele/notary/office/bulk"
	"stele/notary/office/stamp"
	"stele/server/worker"
)

// readingTasks are what is done with the bytes of documents in a process of its own.
var readingTasks = worker.Tasks{"look": lookTask, "stamp": stampTask, "table": tableTask}

// ReadDocument is the whole life of such a process: one task, from in to out.
func ReadDocument(in io.Reader, out io.Writer) error { return worker.Serve(readingTasks, in, out) }

// looked is the result of a look at a PDF.
type looked struct {
	stamp.View
	Problem *stamp.Refusal `json:"problem,omitempty"` // with the plan
	Refused *stamp.Refusal `json:"refused,omitempty"` // the document
}

func lookTask(order json.RawMessage, document []byte) (any, []byte, error) {
	var g stamp.Glance
	if err := json.Unmarshal(order, &g); err != nil {
		return nil, nil, err
	}
	v, err := stamp.Look(document, g)
	return looked{View: v, Problem: stamp.RefusalOf(v.Problem), Refused: stamp.RefusalOf(err)}, nil, nil
}

// stampOrder is what is to be put on a PDF.
type stampOrder struct {
	Plan    stamp.Plan    `json:"plan"`
	Content stamp.Content `json:"content"`
}

// stamped is the result; the output is what was written behind the document.
type stamped struct {
	Placed  []stamp.Placed `json:"placed"`
	Refused *stamp.Refusal `json:"refused,omitempty"`
}

func stampTask(order json.RawMessage, document []byte) (any, []byte, error) {
	var o stampOrder
	if err := json.Unmarshal(order, &o); err != nil {
		return nil, nil, err
	}
	out, placed, err := stamp.Stamp(document, o.Plan, o.Content)
	if err != nil {
		return stamped{Refused: stamp.RefusalOf(err)}, nil, nil
	}
	return stamped{Placed: placed}, out[len(document):], nil
}

// tabled is the result of reading a table; the table itself is the output, in JSON.
type tabled struct {
	Refused *bulk.TableError `json:"refused,omitempty"`
}

func tableTask(order json.RawMessage, document []byte) (any, []byte, error) {
	var r bulk.Reading
	if err := json.Unmarshal(order, &r); err != nil {
		return nil, nil, err
	}
	t, err := bulk.ReadTable(context.Background(), document, r) // whoever gives up kills this process
	if refused := (*bulk.TableError)(nil); errors.As(err, &refused) {
		return tabled{refused}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // a table of nothing but "<" would be six times as long
	err = e.Encode(t)
	return tabled{}, b.Bytes(), err
}

// reader reads documents through a pool of workers. It implements [stamp.Reader] and
// [bulk.TableReader].
type reader struct {
	pool *worker.Pool
	log  *slog.Logger
}

func newReader(c Config, log *slog.Logger) *reader {
	return &reader{pool: worker.New(worker.Options{Command: c.ReadCommand, Tasks: readingTasks}), log: log}
}

// Look implements [stamp.Reader].
func (r *reader) Look(ctx context.Context, agencyID string, document stamp.Source, g stamp.Glance) (stamp.View, error) {
	var out looked
	if _, err := r.pool.Do(ctx, agencyID, "look", g, document, &out); err != nil {
		return stamp.View{}, r.failure(ctx, agencyID, err, stamp.ErrTooLarge, stamp.ErrDamaged)
	}
	out.View.Problem = out.Problem.Err()
	return out.View, out.Refused.Err()
}

// Stamp implements [stamp.Reader].
func (r *reader) Stamp(
	ctx context.Context, agencyID string, document stamp.Source, plan stamp.Plan, c stamp.Content,
) ([]byte, []stamp.Placed, error) {
	var out stamped
	var data []byte
	load := func(ctx context.Context) (_ []byte, err error) {
		data, err = document(ctx)
		return data, err
	}
	behind, err := r.pool.Do(ctx, agencyID, "stamp", stampOrder{plan, c}, load, &out)
	if err != nil {
		return nil, nil, r.failure(ctx, agencyID, err, stamp.ErrTooLarge, stamp.ErrDamaged)
	}
	if err := out.Refused.Err(); err != nil {
		return nil, nil, err
	}
	return append(data[:len(data):len(data)], behind...), out.Placed, nil
}

// ReadTable implements [bulk.TableReader].
func (r *reader) ReadTable(
	ctx context.Context, agencyID string, data []byte, reading bulk.Reading,
) (bulk.Table, error) {
	var out tabled
	var t bulk.Table
	load := func(context.Context) ([]byte, error) { return data, nil }
	table, err := r.pool.Do(ctx, agencyID, "table", reading, load, &out)
	if err != nil {
		return t, r.failure(ctx, agencyID, err, bulk.ErrTableCosts, bulk.ErrTableBreaks)
	}
	if out.Refused != nil {
		return t, out.Refused
	}
	if err := json.Unmarshal(table, &t); err != nil {
		err = fmt.Errorf("%w: %w", worker.ErrFailed, err)
		return t, r.failure(ctx, agencyID, err, bulk.ErrTableCosts, bulk.ErrTableBreaks)
	}
	return t, nil
}

// failure is what a worker's error means for whoever handed the document in: costly is the error
// of a document that takes too much, broken of one that a worker did not survive.
func (r *reader) failure(ctx context.Context, agencyID string, err, costly, broken error) error {
	switch {
	case errors.Is(err, worker.ErrBusy):
		return notary.Wrap(notary.CodeBusy, err,
			"Too many documents of this agency are being read at the moment. Nothing was done; try again in a minute.")
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, worker.ErrTime) && !errors.Is(err, worker.ErrMemory) && !errors.Is(err, worker.ErrFailed):
		return err // of the document's loading
	}
	r.log.WarnContext(ctx, "a document could not be read", "agency", agencyID, "error", err)
	if errors.Is(err, worker.ErrTime) || errors.Is(err, worker.ErrMemory) {
		return fmt.Errorf("%w: %w", costly, err)
	}
	return fmt.Errorf("%w: %w", broken, err)
}
