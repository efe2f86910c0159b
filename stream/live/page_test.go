package live

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestThePageNamesOnlyFilesThatItServes(t *testing.T) {
	p := Handler()
	page := get(p, http.MethodGet, "/debug/mqtt")
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", page.Code, page.Header())
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page.Body.String(), -1)
	if len(links) < 5 {
		t.Errorf("%d links", len(links))
	}
	for _, l := range links {
		if l[1] == "data:," {
			continue
		}
		if !strings.HasPrefix(l[1], "?get=") {
			t.Errorf("the page links to %s", l[1])
			continue
		}
		w := get(p, http.MethodGet, "/debug/mqtt"+l[1])
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %d bytes", l[1], w.Code, w.Body.Len())
		}
	}
	for _, bad := range []string{"?get=nothing", "?get=../page.go", "?get=live.html"} {
		if w := get(p, http.MethodGet, "/debug/mqtt"+bad); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", bad, w.Code)
		}
	}
}

func TestThePageIsReadOnly(t *testing.T) {
	p := Handler()
	for _, url := range []string{"/debug/mqtt", "/debug/mqtt?get=live.js", "/debug/mqtt?get=events"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
			if w := get(p, method, url); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: status %d, Allow %q", method, url, w.Code, w.Header().Get("Allow"))
			}
		}
		w := get(p, http.MethodHead, url) // returns at once, also for the stream
		if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Type") == "" {
			t.Errorf("HEAD %s: status %d, %d bytes, %v", url, w.Code, w.Body.Len(), w.Header())
		}
	}
}

func TestNothingInlineAndNoOtherOriginIsPermitted(t *testing.T) {
	p := Handler()
	for _, url := range []string{"/", "/?get=live.js", "/?get=nothing"} {
		h := get(p, http.MethodGet, url).Header()
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy %q", url, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", url, h)
		}
	}
	html := get(p, http.MethodGet, "/").Body.String()
	if m := regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son\w+=|\sstyle=|<style`).FindString(html); m != "" {
		t.Errorf("the page has %q, which the policy forbids", m)
	}
	script, err := assets.ReadFile("assets/live.js")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).Find(script); m != nil {
		t.Errorf("the script uses %s, which can turn a topic into markup", m)
	}
}
