'use strict';
// Draws the snapshots of the stream. Text that comes from outside, such as topics and errors, is
// only ever assigned to textContent.
(() => {
  const points = 300; // of a chart: five minutes
  const byId = (id) => document.getElementById(id);
  const series = new Map(); // client name -> columns of its charts
  let chosen = '';
  let last = null;

  // Numbers

  const number = (n) => Math.round(n).toLocaleString('en');
  const rate = (n) => (n === 0 ? '0' : n < 10 ? n.toFixed(1) : number(n));
  const bytes = (n) => {
    for (const unit of ['B', 'KB', 'MB']) {
      if (n < 1000) return (n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)) + ' ' + unit;
      n /= 1000;
    }
    return n.toFixed(1) + ' GB';
  };
  const age = (ms) => {
    if (ms < 10000) return (ms / 1000).toFixed(1) + ' s';
    const s = Math.round(ms / 1000);
    if (s < 120) return s + ' s';
    if (s < 7200) return Math.round(s / 60) + ' min';
    return s < 172800 ? Math.round(s / 3600) + ' h' : Math.round(s / 86400) + ' d';
  };
  const micros = (us) => {
    if (us < 1000) return (us < 10 ? us.toFixed(1) : Math.round(us)) + ' µs';
    if (us < 1e6) return (us / 1000).toFixed(us < 1e4 ? 1 : 0) + ' ms';
    return (us / 1e6).toFixed(1) + ' s';
  };
  const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');

  // Elements

  const set = (el, text) => { if (el.textContent !== text) el.textContent = text; };
  const mark = (el, name) => { if (el.className !== name) el.className = name; };
  const make = (tag, parent, name) => {
    const el = document.createElement(tag);
    if (name) el.className = name;
    parent.append(el);
    return el;
  };
  // rows fills a table. A cell is a text, or [text, classes]; a row has cells, and perhaps a class.
  const rows = (body, list) => {
    while (body.rows.length > list.length) body.deleteRow(-1);
    list.forEach((row, i) => {
      const tr = body.rows[i] || body.insertRow();
      mark(tr, row.mark || '');
      while (tr.cells.length > row.cells.length) tr.deleteCell(-1);
      row.cells.forEach((cell, k) => {
        const td = tr.cells[k] || tr.insertCell();
        const [text, name] = Array.isArray(cell) ? cell : [cell, ''];
        set(td, text);
        mark(td, name);
        td.title = name.includes('text') ? text : '';
        td.colSpan = row.span || 1;
      });
    });
  };
  const table = (id, list, otherwise, columns) => {
    if (!list.length) list = [{ cells: [[otherwise, 'none']], span: columns }];
    rows(byId(id).tBodies[0], list);
  };

  // Charts

  const charts = [
    { title: 'Messages per second', keys: ['out', 'in'], of: (c) => [c.rates.out, c.rates.in], format: rate },
    { title: 'Messages that wait', keys: ['queued', 'in flight', 'unacked', 'inbox'],
      of: (c) => [c.gauges.queued, c.gauges.inFlight, c.gauges.unacked, c.gauges.inbox], format: number, least: 10 },
    { title: 'Age of the oldest', keys: ['queued', 'in flight', 'unacked'],
      of: (c) => [c.gauges.oldestQueued, c.gauges.oldestInFlight, c.gauges.oldestUnacked].map((ms) => ms / 1000),
      format: (s) => age(s * 1000) },
    { title: 'Latency, 99 %', keys: ['publish', 'handed over', 'acked'],
      of: (c) => {
        const of = (start) => c.latency.filter((l) => l.name.startsWith(start)).map((l) => l.p99);
        const max = (list) => (list.length ? Math.max(...list) : null);
        return [max(of('publish')), max(of('received')), max(of('handed'))];
      }, format: micros },
  ];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const draw = (chart) => {
    const width = chart.box.clientWidth;
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--grid'), width: 1 }, ticks: { show: false },
      font: '11px system-ui, "DejaVu Sans", sans-serif' };
    if (chart.plot) chart.plot.destroy();
    chart.width = width;
    chart.plot = new uPlot({
      width, height: 170, legend: { show: false }, cursor: { show: false }, padding: [10, 24, 0, 0],
      scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.1, chart.least || 1)] } },
      axes: [
        { ...axis, size: 26, space: 90, values: (u, ts) => ts.map((t) => clock(t * 1000)) },
        { ...axis, size: 62, values: (u, ys) => ys.map((y) => (y === 0 ? '0' : chart.format(y))) },
      ],
      series: [{}].concat(chart.keys.map((_, k) => ({
        stroke: colour('--c' + (k + 1)), width: 2, points: { show: false }, spanGaps: true,
      }))),
    }, data(chart), chart.box);
  };
  const data = (chart) => {
    const s = series.get(chosen);
    const at = s ? s.at : [];
    return [at].concat(chart.keys.map((_, k) => (s ? s.columns[charts.indexOf(chart)][k] : [])));
  };
  const build = () => {
    for (const chart of charts) {
      const card = make('div', byId('charts'), 'chart');
      make('h3', card).textContent = chart.title;
      const keys = make('div', card, 'keys');
      chart.keys.forEach((key, k) => {
        const span = make('span', keys, 'k' + (k + 1));
        make('i', span);
        span.append(key);
      });
      chart.box = make('div', card);
    }
    const redraw = () => { if (!byId('one').hidden) charts.forEach(draw); };
    window.addEventListener('resize', redraw);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  };
  const remember = (snapshot) => {
    const names = new Set(snapshot.clients.map((c) => c.name));
    for (const name of series.keys()) if (!names.has(name)) series.delete(name);
    for (const c of snapshot.clients) {
      let s = series.get(c.name);
      if (!s) series.set(c.name, s = { at: [], columns: charts.map((chart) => chart.keys.map(() => [])) });
      s.at.push(snapshot.at / 1000);
      charts.forEach((chart, i) => chart.of(c).forEach((y, k) => s.columns[i][k].push(y)));
      if (s.at.length > points) {
        s.at.shift();
        s.columns.forEach((columns) => columns.forEach((column) => column.shift()));
      }
    }
  };

  // The list of clients

  const status = (c, now) => {
    if (c.ended) return 'ended';
    if (c.online) return 'online for ' + age(now - c.since);
    if (c.next > now) return 'offline, next attempt in ' + age(c.next - now);
    return 'connecting';
  };
  const showAll = (s) => {
    byId('all').hidden = s.clients.length < 2;
    const body = byId('clients').tBodies[0];
    rows(body, s.clients.map((c) => {
      const g = c.gauges;
      return {
        mark: [c.alarms.length ? 'bad' : '', c.name === chosen ? 'chosen' : ''].join(' ').trim(),
        cells: [[c.name, 'text'], [status(c, s.at), c.online ? 'text' : 'text bad'], rate(c.rates.out), rate(c.rates.in),
          number(g.inFlight) + ' / ' + number(g.window), number(g.queued), number(g.unacked),
          g.unacked ? [age(g.oldestUnacked), g.oldestUnacked >= s.slow ? 'bad' : ''] : '',
          [number(g.inbox), g.paused ? 'bad' : '']],
      };
    }));
    for (const tr of body.rows) {
      tr.tabIndex = 0;
      tr.setAttribute('aria-selected', String(tr.classList.contains('chosen')));
    }
  };
  const choose = (event) => {
    if (event.type === 'keydown' && event.key !== 'Enter') return;
    const tr = event.target.closest('tbody tr');
    if (!tr || !last) return;
    chosen = last.clients[tr.sectionRowIndex].name;
    show(last);
  };

  // One client

  const showTiles = (c, s) => {
    const g = c.gauges;
    const tiles = [
      ['out', rate(c.rates.out) + ' /s', bytes(c.rates.bytesOut) + '/s'],
      ['in', rate(c.rates.in) + ' /s', bytes(c.rates.bytesIn) + '/s'],
      ['in flight / window', number(g.inFlight) + ' / ' + number(g.window), g.inFlight ? 'oldest ' + age(g.oldestInFlight) : '', g.oldestInFlight >= s.slow],
      ['queued', number(g.queued), g.queued ? 'oldest ' + age(g.oldestQueued) : '', g.oldestQueued >= s.slow],
      ['unacked', number(g.unacked), g.unacked ? 'oldest ' + age(g.oldestUnacked) : '', g.oldestUnacked >= s.slow],
      ['inbox', number(g.inbox), (g.inbox ? bytes(g.inboxBytes) : '') + (g.unclaimed ? ', ' + number(g.unclaimed) + ' unclaimed' : ''), g.paused],
      ['receipts that wait', number(g.receipts), ''],
    ];
    if (g.storeWaiting || g.storeFailing) {
      tiles.push(['Store', g.storeFailing ? 'failing' : age(g.storeWaiting), 'commit under way', g.storeFailing || g.storeWaiting >= s.slow]);
    }
    const box = byId('tiles');
    while (box.children.length > tiles.length) box.lastChild.remove();
    tiles.forEach(([label, value, note, bad], i) => {
      let tile = box.children[i];
      if (!tile) {
        tile = make('div', box, 'tile');
        for (const name of ['label', 'value', 'note']) make('div', tile, name);
      }
      mark(tile, bad ? 'tile bad' : 'tile');
      set(tile.children[0], label);
      set(tile.children[1], value);
      set(tile.children[2], note);
    });
  };
  const showTables = (c, s) => {
    table('subs', c.subs.map((sub) => ({
      mark: sub.oldest >= s.slow ? 'bad' : '',
      cells: [[sub.filters.map((f) => f.topic).join(', '), 'text'], sub.filters.map((f) => f.granted).join(', '),
        [sub.state, sub.state === 'refused' ? 'text bad' : 'text'], number(sub.inbox), number(sub.unacked),
        sub.unacked ? [age(sub.oldest), sub.oldest >= s.slow ? 'bad' : ''] : ''],
    })), 'none', 6);
    const topics = (c.topics || []).map((t) => ({ cells: [[t.topic, 'text'], rate(t.out), rate(t.in)] }));
    if (c.number > topics.length || c.others.in + c.others.out > 0) {
      const more = c.number - topics.length;
      topics.push({ mark: 'other', cells: [[more > 0 ? number(more) + ' others' : 'others', 'text'], rate(c.others.out), rate(c.others.in)] });
    }
    table('topics', topics, s.hidden ? 'hidden' : c.observed ? 'none' : 'needs the Observer of the page', 3);
    table('latency', c.latency.map((l) => ({
      cells: [[l.name, 'text'], micros(l.p50), micros(l.p90), micros(l.p99), number(l.count)],
    })), 'none', 5);
    table('history', c.history.map((h) => ({
      cells: [clock(h.at), [h.kind + (h.count > 1 ? ' × ' + number(h.count) : ''), h.kind === 'online' ? '' : 'bad'], [h.text, 'wide']],
    })), 'nothing yet', 3);
  };
  const showOne = (c, s) => {
    set(byId('name'), c.name);
    set(byId('state'), status(c, s.at));
    mark(byId('state'), c.online ? 'pill good' : 'pill bad');
    set(byId('endpoint'), [c.endpoint, c.version && 'MQTT ' + c.version, c.resumed && 'session resumed'].filter(Boolean).join(', '));
    const list = byId('alarms');
    const texts = c.alarms || [];
    while (list.children.length > texts.length) list.lastChild.remove();
    texts.forEach((text, i) => set(list.children[i] || make('li', list), text));
    showTiles(c, s);
    showTables(c, s);
    const totals = byId('totals');
    while (totals.children.length > c.totals.length) totals.lastChild.remove();
    c.totals.forEach((t, i) => {
      let div = totals.children[i];
      if (!div) {
        div = make('div', totals);
        make('dt', div);
        make('dd', div);
      }
      set(div.children[0], t.name);
      set(div.children[1], number(t.count));
    });
  };

  const show = (s) => {
    for (const c of s.clients) c.alarms = c.alarms || [];
    const client = s.clients.find((c) => c.name === chosen) || s.clients[0];
    chosen = client ? client.name : '';
    document.title = s.title;
    set(byId('title'), s.title);
    byId('none').hidden = Boolean(client);
    const bad = s.clients.filter((c) => c.alarms.length).length;
    set(byId('summary'), s.clients.length < 2 ? '' : number(s.clients.length) + ' clients, ' +
      (bad ? number(bad) + ' in red' : 'all well') + ', ' + rate(s.clients.reduce((n, c) => n + c.rates.out, 0)) + ' /s out, ' +
      rate(s.clients.reduce((n, c) => n + c.rates.in, 0)) + ' /s in');
    showAll(s);
    byId('one').hidden = !client;
    if (!client) return;
    showOne(client, s);
    for (const chart of charts) {
      if (chart.plot && chart.width === chart.box.clientWidth) chart.plot.setData(data(chart));
      else draw(chart);
    }
  };

  // The stream

  const told = (text, good) => {
    set(byId('page'), text);
    mark(byId('page'), good ? 'pill good' : 'pill bad');
  };
  const watch = () => {
    const source = new EventSource('?get=events');
    source.onmessage = (event) => {
      last = JSON.parse(event.data);
      remember(last);
      show(last);
      told('live', true);
    };
    source.onerror = () => {
      told('no data: the program has ended, or has too many viewers', false);
      if (source.readyState === EventSource.CLOSED) setTimeout(watch, 5000);
    };
  };
  build();
  byId('clients').tBodies[0].addEventListener('click', choose);
  byId('clients').tBodies[0].addEventListener('keydown', choose);
  watch();
})();
