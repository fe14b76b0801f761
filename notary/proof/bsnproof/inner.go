package bsnproof

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"stele/notary/proof/bsnproof/gateway"
)

// Inner texts are JSON that the chain's programs wrote, inside strings of answers. Their
// spelling is not ours to fix, but every verifier must find the same in them. So names count as
// they are written and occur once in an object; unknown ones are allowed.

// maxDepth is how deep lists and objects may lie in one another.
const maxDepth = 32

// readInner reads a text. Its values are those of package json with numbers as json.Number.
func readInner(text string) (any, error) {
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%w: no JSON", ErrFormat)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return innerValue(d, 0)
}

func innerValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if t != json.Delim('[') && t != json.Delim('{') {
		return t, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: JSON deeper than %d", ErrFormat, maxDepth)
	}
	list, object := []any{}, map[string]any{}
	for d.More() {
		name := ""
		if t == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return nil, fmt.Errorf("%w: %v", ErrFormat, err)
			}
			name, _ = key.(string)
			if _, twice := object[name]; twice {
				return nil, fmt.Errorf("%w: the name %q stands there twice", ErrFormat, name)
			}
		}
		v, err := innerValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		object[name] = v
		list = append(list, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if t == json.Delim('[') {
		return list, nil
	}
	return object, nil
}

// member is a member of an object; ok is false where v is no object or the member has another type.
func member[T any](v any, name string) (T, bool) {
	object, _ := v.(map[string]any)
	m, ok := object[name].(T)
	return m, ok
}

// listOf is a list whose elements all have one type.
func listOf[T any](v any) ([]T, bool) {
	list, ok := v.([]any)
	out := make([]T, len(list))
	for i := range list {
		var is bool
		out[i], is = list[i].(T)
		ok = ok && is
	}
	return out, ok
}

// History reads what getHistory returned: each write of a key.
func History(ccData string) ([]gateway.HistoryEntry, error) {
	v, err := readInner(ccData)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	out := make([]gateway.HistoryEntry, len(list))
	for i, w := range list {
		var id, data, deleted bool
		out[i].TxID, id = member[string](w, "txId")
		out[i].DataInfo, data = member[string](w, "dataInfo")
		out[i].IsDelete, deleted = member[bool](w, "isDelete")
		ok = ok && id && data && deleted
	}
	if !ok {
		return nil, fmt.Errorf("%w: getHistory returned no list of writes", ErrFormat)
	}
	return out, nil
}

// Stored reads what the base chaincode keeps under a key.
func Stored(dataInfo string) (gateway.StoredData, error) {
	v, err := readInner(dataInfo)
	if err != nil {
		return gateway.StoredData{}, err
	}
	key, hasKey := member[string](v, "BaseKey")
	value, hasValue := member[string](v, "BaseInfo")
	if !hasKey || !hasValue {
		return gateway.StoredData{}, fmt.Errorf("%w: no data of the base chaincode", ErrFormat)
	}
	return gateway.StoredData{BaseKey: key, BaseInfo: value}, nil
}

// Rows reads what select returned, the oldest row first.
func Rows(queryInfo string) ([]gateway.Row, error) {
	v, err := readInner(queryInfo)
	if err != nil {
		return nil, err
	}
	lists, _ := v.([]any)
	if len(lists) != 3 {
		return nil, fmt.Errorf("%w: select returned no three lists", ErrFormat)
	}
	ids, hasIDs := listOf[string](lists[0])
	keys, hasKeys := listOf[json.Number](lists[1])
	values, hasValues := listOf[string](lists[2])
	if !hasIDs || !hasKeys || !hasValues || len(keys) != len(ids) || len(values) != len(ids) {
		return nil, fmt.Errorf("%w: select returned no lists of one length, of ids, numbers and values", ErrFormat)
	}
	rows := make([]gateway.Row, len(ids))
	for i := range ids {
		key, err := strconv.ParseInt(string(keys[i]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is no number of a row", ErrFormat, keys[i])
		}
		rows[i] = gateway.Row{ID: ids[i], Key: key, Value: values[i]}
	}
	return rows, nil
}

// Inserted reports whether logs say that the contract wrote this one row.
func Inserted(contract, logs string, row gateway.Row) bool {
	v, err := readInner(logs)
	list, ok := v.([]any)
	if err != nil || !ok {
		return false
	}
	want := row.InsertResult(1)
	for _, l := range list {
		address, _ := member[string](l, "address")
		data, _ := member[string](l, "data")
		all, _ := member[[]any](l, "topics")
		topics, ok := listOf[string](all)
		if ok && address == contract && data == want && len(topics) == 1 &&
			(topics[0] == gateway.InsertTopic || topics[0] == gateway.InsertTopicSM3) {
			return true
		}
	}
	return false
}
