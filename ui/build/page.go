package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/evanw/esbuild/pkg/api"

	"stele/ui/fill"
)

// offlinePage makes verify.html: page, styles, scripts, texts and verifier in one file; what is kept has
// a mark in the place of the verifier, which the program has besides. The
// scripts are the modules of the public page, put together and left readable; what they need
// beside each other is inside them, so that the hash in the page's policy covers all of it.
func offlinePage(ui, gen string) error {
	icon, err := os.ReadFile(filepath.Join(ui, "static", "icon.svg"))
	if err != nil {
		return err
	}
	styles, err := styleSheets(ui)
	if err != nil {
		return err
	}
	script, err := offlineScript(ui, gen)
	if err != nil {
		return err
	}
	page, err := template.ParseFiles(filepath.Join(ui, "build", "verify.html.tmpl"),
		filepath.Join(ui, "templates", "part_icons.html"))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	err = page.Execute(&b, map[string]string{"Icon": base64.StdEncoding.EncodeToString(icon), "Styles": styles,
		"StylesHash": cspHash(styles), "Script": script, "ScriptHash": cspHash(script)})
	if err != nil {
		return err
	}
	verifier, err := os.ReadFile(filepath.Join(gen, verifierFile+".gz"))
	if err != nil {
		return err
	}
	data, ok := fill.WithoutVerifier(b.Bytes(), verifier)
	if !ok {
		return errors.New("the verifier is not in the page, or not once")
	}
	return compress(filepath.Join(gen, pageFile+".gz"), data, gzipBest)
}

// cspHash names the text of an inline element in a Content-Security-Policy (level 3, section
// 2.3.1).
func cspHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var styleSheet = regexp.MustCompile(`<link rel="stylesheet" href="\{\{asset "([a-z/]+\.css)"\}\}">`)

// styleSheets are those of the public page, in its order, and the page's own.
func styleSheets(ui string) (string, error) {
	layout, err := os.ReadFile(filepath.Join(ui, "templates", "layout.html"))
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range styleSheet.FindAllSubmatch(layout, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) == 0 {
		return "", errors.New("the layout names no style sheets")
	}
	var b strings.Builder
	for _, name := range append(names, "css/offline.css") {
		data, err := os.ReadFile(filepath.Join(ui, "static", filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		b.Write(data)
	}
	return b.String(), endsElement(b.String(), "</style")
}

// offlineScript puts the page's script together, with texts, worker and verifier inside.
func offlineScript(ui, gen string) (string, error) {
	wasm, err := os.ReadFile(filepath.Join(gen, verifierFile+".gz"))
	if err != nil {
		return "", err
	}
	js := filepath.Join(ui, "static", "js")
	worker, err := bundle(ui,
		api.BuildOptions{Stdin: &api.StdinOptions{Contents: "import 'built:loader';\nimport './worker.js';\n",
			ResolveDir: js},
			Plugins: []api.Plugin{
				built(map[string]part{"built:loader": {file: filepath.Join(gen, loaderFile), loader: api.LoaderJS}})}})
	if err != nil {
		return "", err
	}
	return bundle(ui, api.BuildOptions{EntryPoints: []string{filepath.Join(js, "offline.js")},
		Plugins: []api.Plugin{built(map[string]part{
			"built:worker":   {text: worker, loader: api.LoaderText},
			"built:verifier": {text: string(wasm), loader: api.LoaderBinary},
		})}})
}

// part is what a name that begins with "built:" means to a script: a text, or a file.
type part struct {
	text, file string
	loader     api.Loader
}

// built hands the products of this program to scripts that import them.
func built(parts map[string]part) api.Plugin {
	return api.Plugin{Name: "built", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: "^built:"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: a.Path, Namespace: "built"}, nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: "built"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			p, ok := parts[a.Path]
			if !ok {
				return api.OnLoadResult{}, fmt.Errorf("nothing is called %s", a.Path)
			}
			if p.file != "" {
				data, err := os.ReadFile(p.file)
				if err != nil {
					return api.OnLoadResult{}, err
				}
				p.text = string(data)
			}
			return api.OnLoadResult{Contents: &p.text, Loader: p.loader}, nil
		})
	}}
}

// bundle makes one script of modules. Paths in its comments are relative to ui, so that the
// place of the working copy does not show.
func bundle(ui string, o api.BuildOptions) (string, error) {
	o.Bundle, o.Format, o.Charset, o.AbsWorkingDir, o.LogLevel = true, api.FormatIIFE, api.CharsetUTF8, ui,
		api.LogLevelWarning
	result := api.Build(o)
	if len(result.Errors) > 0 || len(result.OutputFiles) != 1 {
		return "", fmt.Errorf("the scripts cannot be put together: %d errors", len(result.Errors))
	}
	text := string(result.OutputFiles[0].Contents)
	return text, endsElement(text, "</script")
}

// endsElement refuses a text that would not stay inside its element.
func endsElement(text, end string) error {
	lower := strings.ToLower(text)
	if strings.Contains(lower, end) || strings.Contains(text, "<!--") {
		return fmt.Errorf("an inline text holds %q", end)
	}
	return nil
}
