package live

import (
	"embed"
	"net/http"
	"strconv"
)

// assets are the files of the page. uplot.js and uplot.css are unchanged files of uPlot 1.6.32:
// dist/uPlot.iife.min.js and dist/uPlot.min.css of the npm package uplot.
//
//go:embed assets
var assets embed.FS

// types are the content types of the files that are served, by the parameter get of the query.
var types = map[string]string{
	"":          "text/html; charset=utf-8",
	"live.js":   "text/javascript; charset=utf-8",
	"live.css":  "text/css; charset=utf-8",
	"uplot.js":  "text/javascript; charset=utf-8",
	"uplot.css": "text/css; charset=utf-8",
	"uplot":     "text/plain; charset=utf-8",
}

// serveAsset serves the file that the query names, or the page itself. A query, in place of a path
// below that of the page, works wherever the page is mounted.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("get")
	kind, ok := types[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch name {
	case "":
		name = "live.html"
	case "uplot":
		name = "uplot.LICENSE"
	}
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(text)
	}
}

func numbered(n int) string { return "client " + strconv.Itoa(n) }
