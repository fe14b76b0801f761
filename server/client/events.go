package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Event is an item of the changes feed; docs/webhooks.md lists the types and what each says.
type Event struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"` // when the fact became durable
	Data      json.RawMessage `json:"data"`
}

// RecordEvent is what an event about a record says. What does not belong to its type is empty.
type RecordEvent struct {
	ID           string    `json:"id"`
	Number       string    `json:"number"`
	State        State     `json:"state"`
	Standing     Standing  `json:"standing"`
	StandingAt   time.Time `json:"standingAt"`
	SupersededBy string    `json:"supersededBy"`
	Reason       string    `json:"reason"`
	Class        string    `json:"class"`
}

// Record reads what an event about a record says; of other events it is empty.
func (e Event) Record() (RecordEvent, error) {
	var r RecordEvent
	if !strings.HasPrefix(e.Type, "record.") {
		return r, nil
	}
	err := json.Unmarshal(e.Data, &r)
	return r, err
}

// EventQuery selects events of the key's agency.
type EventQuery struct {
	After  string   // Next of a page before; empty: from the first record on
	Types  []string // none: all
	Thin   bool     // of a record only id and number
	Follow bool     // at the end wait for more, until ctx ends
}

// EventPage is a few events, oldest first. Handle them, then keep Next: whoever goes on after
// it gets each event at least once.
type EventPage struct {
	Events []Event `json:"events"`
	Next   string  `json:"next"`
}

// pollEvents is the pause between two looks at the end of the feed.
const pollEvents = 2 * time.Second

// Events goes through the changes feed, page by page. A page may be empty: its Next is worth
// keeping all the same. After an error there are no more.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[EventPage, error] {
	return func(yield func(EventPage, error) bool) {
		query := url.Values{"limit": {"500"}}
		if len(q.Types) > 0 {
			query.Set("types", strings.Join(q.Types, ","))
		}
		if q.Thin {
			query.Set("payload", "thin")
		}
		for after := q.After; ; {
			if after != "" {
				query.Set("after", after)
			}
			var page struct {
				EventPage
				More bool
			}
			if _, err := c.json(ctx, call{method: http.MethodGet, path: "/events", query: query}, &page); err != nil {
				yield(EventPage{}, err)
				return
			}
			if (page.Next != after || len(page.Events) > 0) && !yield(page.EventPage, nil) {
				return
			}
			after = page.Next
			if page.More {
				continue
			}
			if !q.Follow {
				return
			}
			if err := sleep(ctx, pollEvents); err != nil {
				yield(EventPage{}, err)
				return
			}
		}
	}
}
