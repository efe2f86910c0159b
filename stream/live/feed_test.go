package live

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestAllViewersGetOneSnapshotEachSecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, _ := connected(t, b, mqtt.Options{})
		p := Handler(c)
		begin := time.Now()
		first := watch(t, p)
		for i := range 3 {
			s := first.next(t)
			if at := time.Since(begin); at != time.Duration(i)*time.Second || s.At != time.Now().UnixMilli() {
				t.Errorf("snapshot %d comes at %v", i, at)
			}
		}
		elapse(time.Second / 2)
		second := watch(t, p)
		if s := second.next(t); s.At != begin.Add(2*time.Second).UnixMilli() {
			t.Error("the second viewer does not get the last snapshot at once")
		}
		if time.Since(begin) != 2500*time.Millisecond {
			t.Errorf("the second viewer waited until %v", time.Since(begin))
		}
		if a, b := <-first.events, <-second.events; a != b {
			t.Error("two viewers get different snapshots")
		}
	})
}

func TestAViewerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, _ := connected(t, b, mqtt.Options{})
		p := Handler(c)
		gate := make(chan struct{})
		stuck, good := watchGated(t, p, gate), watch(t, p)
		for range 8 {
			good.next(t)
		}
		synctest.Wait()
		if n := len(stuck.events); n != 1 {
			t.Errorf("the viewer that does not read got %d snapshots", n)
		}
		close(gate)
		synctest.Wait()
		stuck.next(t)
		if s := stuck.next(t); s.At < time.Now().Add(-time.Second).UnixMilli() {
			t.Errorf("a viewer that reads again gets a snapshot of %v", time.UnixMilli(s.At))
		}
	})
}

func TestAViewerThatDoesNotReadForTenSecondsIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := Handler()
		begin := time.Now()
		stuck := watchGated(t, p, make(chan struct{}))
		<-stuck.done
		if d := time.Since(begin); d != patience {
			t.Errorf("it is given up after %v, want %v", d, patience)
		}
	})
}

func TestNothingRunsWhenTheLastViewerHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		c, _ := connected(t, b, mqtt.Options{})
		p := Handler(c)
		for range 3 {
			v, w := watch(t, p), watch(t, p)
			v.next(t)
			v.leave()
			w.next(t)
			w.next(t)
			w.leave()
			p.feed.mu.Lock()
			if p.watched.Load() != 0 || p.feed.run != nil || p.feed.last != nil || len(p.feed.viewers) != 0 {
				t.Errorf("%d feeds run, %+v", p.watched.Load(), p.feed.viewers)
			}
			p.feed.mu.Unlock()
		}
	})
}

func TestViewersBeyondTheLimitAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := &Page{Viewers: 2}
		first := watch(t, p)
		watch(t, p)
		synctest.Wait()
		w := get(p, http.MethodGet, "/?get=events")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("the third viewer: status %d, %v", w.Code, w.Header())
		}
		first.leave()
		third := watch(t, p)
		third.next(t)
		third.next(t)
	})
}

func TestCloseEndsTheStreams(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := Handler()
		v := watch(t, p)
		v.next(t)
		p.Close()
		<-v.done
		p.Close()
		<-watch(t, p).done
		early := Handler()
		early.Close()
		<-watch(t, early).done
	})
}
