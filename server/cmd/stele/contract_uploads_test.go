package main

import (
	"net/http"
	"strings"
)

// uploadCalls are those of files that come before their records.
func (c *contract) uploadCalls(post func(path, body string) request) {
	c.t.Helper()
	const path = "/api/v1/uploads"
	tus := func(method, at, body string, headers ...string) request {
		r := request{method: method, path: at, body: strings.NewReader(body),
			header: map[string]string{"Authorization": "Bearer " + c.info.APIKey, "Tus-Resumable": "1.0.0"}}
		for i := 0; i < len(headers); i += 2 {
			r.header[headers[i]] = headers[i+1]
		}
		return r
	}
	create := func(length string, more ...string) request {
		return tus(http.MethodPost, path, "", append([]string{"Upload-Length", length}, more...)...)
	}
	begin := func(length string) string { return c.want(create(length), 201).header.Get("Location") }

	if res := c.want(tus(http.MethodOptions, path, ""), 200); res.header.Get("Tus-Version") != "1.0.0" ||
		res.header.Get("Tus-Max-Size") != "100000" ||
		res.header.Get("Tus-Extension") != "creation,creation-with-upload,termination,expiration" {
		c.t.Errorf("%v", res.header)
	}
	c.want(create("x"), 400)
	c.want(create("", "Upload-Defer-Length", "1"), 400)
	c.want(create("5", "Upload-Metadata", "filename not-base64"), 400)
	c.want(create("5", "Upload-Metadata", "filename "+strings.Repeat("YWFh", 4000)), 422)
	c.want(create("5", "Upload-Metadata", "sm3 eA=="), 422)
	c.want(create("100001"), 413)
	if res := c.want(create("5", "Tus-Resumable", "0.2.0"), 412); res.header.Get("Tus-Version") != "1.0.0" {
		c.t.Errorf("%v", res.header)
	}
	const stream = "application/offset+octet-stream"
	for _, send := range []func(at, body string, headers ...string) request{
		func(at, body string, headers ...string) request {
			return tus(http.MethodPatch, at, body, headers...)
		},
		func(at, body string, headers ...string) request {
			return tus(http.MethodPost, at, body, append(headers, "X-HTTP-Method-Override", http.MethodPatch)...)
		},
	} {
		at := begin("5")
		c.want(send(at, "ab", "Content-Type", stream), 400)
		c.want(send(at, "ab", "Content-Type", "text/plain", "Upload-Offset", "0"), 415)
		c.want(send(at, "ab", "Content-Type", stream, "Upload-Offset", "1"), 409)
		c.want(send(at, "abcdef", "Content-Type", stream, "Upload-Offset", "0"), 413)
		c.want(send(at, "ab", "Content-Type", stream, "Upload-Offset", "0", "Tus-Resumable", ""), 412)
		c.want(send(path+"/nobody", "ab", "Content-Type", stream, "Upload-Offset", "0"), 404)
		c.want(send(at, "ab", "Content-Type", stream, "Upload-Offset", "0"), 204)
		if res := c.want(tus(http.MethodHead, at, ""), 200); res.header.Get("Upload-Offset") != "2" ||
			res.header.Get("Upload-Expires") == "" {
			c.t.Errorf("%v", res.header)
		}
		c.want(post("/api/v1/records", `{"upload":"`+strings.TrimPrefix(at, path+"/")+`"}`), 409)
		c.want(send(at, "cde", "Content-Type", stream, "Upload-Offset", "2"), 204)
		c.want(post("/api/v1/records", `{"upload":"`+strings.TrimPrefix(at, path+"/")+`"}`), 201)
	}
	c.want(tus(http.MethodHead, path+"/nobody", ""), 404)
	c.want(tus(http.MethodPost, path+"/nobody", ""), 405)
	at := begin("5")
	c.want(tus(http.MethodDelete, at, "", "Tus-Resumable", ""), 412)
	c.want(tus(http.MethodDelete, at, ""), 204)
	c.want(tus(http.MethodDelete, at, ""), 404)
	c.want(post(path+"/presigned", `{"size":5}`), 409)
	c.want(post(path+"/presigned", `{"size":-1}`), 422)
	c.want(post("/api/v1/records", `{"upload":"nobody"}`), 404)
	c.want(post("/api/v1/records/batch", `{"records":[{"upload":"nobody"}]}`), 200)
	for { // up to the limit of an agency's uploads
		res, err := c.holds(create("1"))
		if fatalIfErr(c.t, err); res.status != http.StatusCreated {
			c.want(create("1"), 409)
			break
		}
	}
}
