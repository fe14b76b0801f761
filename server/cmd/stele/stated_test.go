package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What a call states of a document whose bytes it brings has to be true, at every door; what it
// states of one that stays elsewhere is the agency's word. The bucket's door is in TestUploadDirect.
func TestStatedOfADocument(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--log-level", "error")
	c := newContract(t, s)
	home, _ := c.agencyAtHome(t)
	const document = "%PDF-1.7\n…"
	multi := func(path, key, record string) request {
		kind, body := form(part("record", record), filePart("a.pdf", document))
		r := as(key, http.MethodPost, path, body)
		r.header["Content-Type"] = kind
		return r
	}
	uploaded := func(path, key, record string) request {
		tus := &tusClient{s, key}
		id := tus.create(int64(len(document)), "")
		res, err := tus.patch(t.Context(), id, 0, strings.NewReader(document))
		if err != nil || res.status != http.StatusNoContent {
			t.Fatalf("%d %s %v", res.status, res.body, err)
		}
		return as(key, http.MethodPost, path, strings.Replace(record, "{", fmt.Sprintf(`{"upload":%q,`, id), 1))
	}
	const direct, prepare = "/api/v1/records", "/api/v1/records/prepare"
	for name, door := range map[string]func(record string) request{
		"multipart":              func(record string) request { return multi(direct, s.info.APIKey, record) },
		"tus":                    func(record string) request { return uploaded(direct, s.info.APIKey, record) },
		"prepared with a file":   func(record string) request { return multi(prepare, home, record) },
		"prepared with uploaded": func(record string) request { return uploaded(prepare, home, record) },
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, door(`{"mediaType":"image/png"}`), 422, "invalid_request",
				"stated to be image/png, but its first bytes are those of application/pdf")
			s.refuses(t, door(`{"size":3}`), 422, "invalid_request", "that were announced")
			s.refuses(t, door(`{"size":3000}`), 422, "invalid_request", "not the 3000 that were announced")
			s.refuses(t, door(`{"size":3,"mediaType":"image/png"}`), 422, "invalid_request", "Nothing was saved")
			res := s.call(door(fmt.Sprintf(`{"size":%d,"mediaType":"application/pdf"}`, len(document))))
			if res.status != http.StatusCreated {
				t.Errorf("what is true: %d %s", res.status, res.body)
			}
		})
	}
	elsewhere := `{"sm3":"` + newDigest() + `","size":3,"mediaType":"image/png"}`
	res := c.want(as(s.info.APIKey, http.MethodPost, direct, elsewhere), 201)
	if !bytes.Contains(res.body, []byte(`"mediaType":"image/png"`)) {
		t.Errorf("by digest: %s", res.body)
	}
	s.stop()
	if res := site.fsck(t); res.Records != 3 || len(res.Findings) != 0 {
		t.Errorf("%+v", res)
	}
}
