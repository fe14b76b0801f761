package console_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/office/bulk"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/notary/office/webhook"
	"stele/notary/register/mediatype"
	"stele/server/http/console"
	"stele/ui"
)

// composed are beginnings of keys that are put together at run time; the tests below know
// their ends.
var composed = regexp.MustCompile(
	`^console\.(section|role|state|scope|scope_what|kind|delivery|reason|act|done|wrong|error|refused|strength|upload\.(?:state|act)|papers\.list|papers\.none_[a-z]+|paper\.state|paper\.doubt|stamp|paper\.true|paper\.false|bulk)(\.|$)`)

// elsewhere are parts of forms that other packages name in their errors.
var elsewhere = []string{"events", "scopes", "classes", "url", "wait", "malware", "passkey", "cloned", "last", "only",
	"attempt", "token", "provider", "refused", "not_linked", "linked", "other_login"}

func consoleSources(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, pattern := range []string{"*.go", "../../../ui/templates/console/*.html",
		"../../../ui/static/js/upload*.js"} {
		names, err := filepath.Glob(pattern)
		fatalIfErr(t, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			fatalIfErr(t, err)
			b.WriteString(strings.ReplaceAll(string(data), "'", `"`)) // scripts have the other quotes
		}
	}
	return b.String()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	fatalIfErr(t, err)
	return string(data)
}

// Every text is used, and what is put together at run time is there.
func TestTexts(t *testing.T) {
	catalogues, err := ui.LoadCatalogues()
	fatalIfErr(t, err)
	c, sources := catalogues.All()[0], consoleSources(t)
	var want []string
	for _, r := range people.Roles {
		want = append(want, "role."+string(r))
	}
	for _, s := range notary.Scopes {
		want = append(want, "scope."+string(s), "scope_what."+string(s))
	}
	for _, k := range append([]webhook.Kind{webhook.Ping}, webhook.Kinds...) {
		want = append(want, "kind."+strings.ReplaceAll(string(k), ".", "_"))
	}
	for _, s := range []webhook.DeliveryStatus{webhook.Pending, webhook.Done, webhook.Abandoned} {
		want = append(want, "delivery."+string(s))
	}
	for _, m := range regexp.MustCompile(`(?m)^  (\w+): \[|(\w+): \[[^\]]*\],`).FindAllStringSubmatch(
		readFile(t, "../../../ui/static/js/upload_row.js"), -1) {
		want = append(want, "upload.state."+m[1]+m[2])
	}
	for _, a := range []string{"pause", "resume", "retry", "now", "cancel", "remove", "anyway", "skip"} {
		want = append(want, "upload.act."+a)
	}
	for _, s := range filing.States {
		want = append(want, "paper.state."+string(s))
	}
	for _, l := range console.DeskLists {
		want = append(want, "papers.list."+l, "papers.none_"+l)
	}
	want = append(want, "paper.true", "paper.false")
	for _, d := range mediatype.All {
		want = append(want, "paper.doubt."+string(d))
	}
	want = append(want, "state.received", "state.logged", "state.anchored", "reason.gone", "reason.manual",
		"reason.failing")
	for _, act := range people.Acts {
		want = append(want, "act."+string(act))
	}
	for _, s := range people.Strengths {
		want = append(want, "strength."+string(s))
	}
	for _, rt := range console.Table() {
		if rt.Act != "" {
			want = append(want, "act."+string(rt.Act))
		}
	}
	want = append(want, "wrong.bulk_return.remark")
	for _, s := range bulk.States {
		want = append(want, "bulk.state."+string(s), "bulk.what."+string(s))
	}
	for _, s := range bulk.RowStates {
		want = append(want, "bulk.row."+string(s))
	}
	for _, code := range bulk.TableCodes {
		want = append(want, "wrong.table."+string(code))
	}
	for _, code := range bulk.RowCodes {
		want = append(want, "bulk.problem."+string(code))
	}
	for _, code := range bulk.NoticeCodes {
		want = append(want, "bulk.notice."+string(code))
	}
	for i, c := range catalogues.All() { // Chinese comes first
		if got := c.Text("console.bulk.sheet_explain"); got != bulk.ExplainSheets[i] {
			t.Errorf("the sheet that explains is called %q: it would be taken for a table", got)
		}
	}
	for _, method := range []string{"upload", "stamp", "digest", "batch", "bulk"} { // which the public page says too
		if !c.Has("method." + method) {
			t.Errorf("there is no text method.%s", method)
		}
	}
	for _, key := range want {
		if !c.Has("console." + key) {
			t.Errorf("there is no text console.%s", key)
		}
	}
	for _, key := range c.Keys() {
		name, own := strings.CutPrefix(key, "console.")
		switch {
		case !own:
		case !composed.MatchString(key):
			if !strings.Contains(sources, `"`+key+`"`) {
				t.Errorf("nothing uses %s", key)
			}
		case strings.HasPrefix(name, "bulk."):
			if !slices.Contains(want, name) && !strings.Contains(sources, `"`+key+`"`) &&
				!strings.Contains(sources, `"`+key[strings.LastIndexByte(key, '.')+1:]+`"`) &&
				!strings.HasPrefix(name, "bulk.about.") && !strings.HasPrefix(name, "bulk.rule_") {
				t.Errorf("nothing uses %s", key)
			}
		case slices.Contains(want, name):
		case strings.HasPrefix(name, "done.") || strings.HasPrefix(name, "wrong."):
			end := name[strings.LastIndex(name, ".")+1:] // an act may have words of its own for a field
			if !strings.Contains(sources, `"`+end+`"`) && !slices.Contains(elsewhere, end) {
				t.Errorf("nothing uses %s", key)
			}
		}
	}
	for _, m := range regexp.MustCompile(
		`(?:done\([^"]*?, |moved\([^"]*?, |changed\([^"]*?, )"([a-z_]+)"`).FindAllStringSubmatch(sources, -1) {
		if !c.Has("console.done." + m[1]) {
			t.Errorf("there is no text console.done.%s", m[1])
		}
	}
}

// Records are found by day, which no index knows: by searching in the order of the log.
func TestRecordsByDay(t *testing.T) {
	o := openOffice(t, false)
	for _, title := range []string{"一", "二", "三"} {
		o.notarize(title)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		f    archive.Filter
		want int
	}{"all": {archive.Filter{}, 3}, "since yesterday": {archive.Filter{From: now.Add(-24 * time.Hour)}, 3},
		"since tomorrow":  {archive.Filter{From: now.Add(24 * time.Hour)}, 0},
		"to yesterday":    {archive.Filter{To: now.Add(-24 * time.Hour)}, 0},
		"to tomorrow":     {archive.Filter{To: now.Add(24 * time.Hour)}, 3},
		"from the second": {archive.Filter{Least: 1}, 2}} {
		t.Run(name, func(t *testing.T) {
			c.f.AgencyID, c.f.Limit = o.agency.ID, 10
			l, err := o.in.DB.Log.ListRecords(t.Context(), c.f)
			fatalIfErr(t, err)
			n, err := o.in.DB.Log.Tally(t.Context(), c.f, 10)
			fatalIfErr(t, err)
			if len(l) != c.want || n.Standings[notary.Valid] != c.want {
				t.Errorf("%s: %d listed, %+v counted, want %d", name, len(l), n, c.want)
			}
		})
	}
}
