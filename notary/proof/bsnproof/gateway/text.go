package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// Text is the string that a mac is over: the values of its arguments one after the other.
// Strings stand as they are, integers in decimal, booleans as true and false; a list is its
// elements in their order, an object its fields in the order of the manual's tables, in which
// the messages of this package declare them; a map is its keys and values in the keys' order.
func Text(values ...any) string {
	var b []byte
	for _, v := range values {
		b = appendText(b, reflect.ValueOf(v))
	}
	return string(b)
}

func appendText(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Invalid:
		return b // nil: an absent body
	case reflect.String:
		return append(b, v.String()...)
	case reflect.Int, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Slice:
		for i := range v.Len() {
			b = appendText(b, v.Index(i))
		}
		return b
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendText(b, v.Field(i))
		}
		return b
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int {
			if x.String() < y.String() {
				return -1
			}
			return 1
		})
		for _, k := range keys {
			b = appendText(appendText(b, k), v.MapIndex(k))
		}
		return b
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return b
		}
		return appendText(b, v.Elem())
	}
	panic(fmt.Sprintf("gateway: no message has a value of the type %s", v.Type()))
}
