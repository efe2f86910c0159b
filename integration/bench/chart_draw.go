package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	plottext "gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The dimensions of a chart, in points: 600 points are 800 pixels.
const (
	chartWidth  vg.Length = 600
	chartMargin vg.Length = 78 // title, axis and the free space around the chart
	chartFree   vg.Length = 8
	rowHeight   vg.Length = 12
	barHeight   vg.Length = 10
	letters     vg.Length = 9.5
)

// looks lists the bars of a group in order; of the peers only the best has a bar. Each client has a
// colour; the ways to use millrace, from fast to slow, are shades of one hue.
var looks = []struct {
	name   string
	says   string
	colour color.Color
}{
	{"PublishBatches", "millrace PublishBatches", rgb(0x0a3069)},
	{"PublishFrom", "millrace PublishFrom", rgb(0x0550ae)},
	{"Publishes", "millrace Publishes", rgb(0x218bff)},
	{"Publish", "millrace Publish", rgb(0x80ccff)},
	{"AllBatches", "millrace AllBatches", rgb(0x0a3069)},
	{"All", "millrace All", rgb(0x0550ae)},
	{"Deliveries", "millrace Deliveries", rgb(0x218bff)},
	{"Messages", "millrace Messages", rgb(0x80ccff)},
	{pahoName, pahoName, rgb(0xbf8700)},
	{pahoV5.name, pahoV5.name, rgb(0xd4a72c)},
	{atWat.name, atWat.name, rgb(0x2da44e)},
	{libmosquitto.name, libmosquitto.name + " (C)", rgb(0x8250df)},
	{limitName, limitName, rgb(0xafb8c1)},
}

func rgb(v uint32) color.Color { return color.RGBA{byte(v >> 16), byte(v >> 8), byte(v), 0xff} }

// writeChart draws the results into an SVG file.
func writeChart(path string, results []result) error {
	c, err := newChart(results)
	if err != nil {
		return err
	}
	p, rows, err := c.plot()
	if err != nil {
		return err
	}
	canvas := vgsvg.New(chartWidth, vg.Length(rows)*rowHeight+chartMargin)
	area := draw.New(canvas)
	area.FillPolygon(color.White, []vg.Point{area.Min, {X: area.Min.X, Y: area.Max.Y}, area.Max, {X: area.Max.X, Y: area.Min.Y}})
	p.Draw(draw.Crop(area, chartFree, -3*chartFree, chartFree, -chartFree)) // leaves room for a wider font
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// A viewer without the first font family would use a font with serifs. The other families have
	// the same width.
	const family = "font-family:Liberation Sans"
	drawn := bytes.ReplaceAll(svg.Bytes(), []byte(family), []byte(family+",Arial,Helvetica,sans-serif"))
	return os.WriteFile(path, drawn, 0o666)
}

// plot lays out the chart. Each bar has a row, and groups have half a row between them. The axis is
// logarithmic and bars begin at 1. Faster contenders have a bar to the right and slower contenders
// a bar to the left; twice as fast and half as fast have the same length.
func (c *chart) plot() (p *plot.Plot, rows float64, err error) {
	p = plot.New()
	p.Title.Text = "Messages a second as multiple of " + pahoName + ", 64 B, window 100, log scale"
	p.Title.Padding = 2 * letters
	sans(&p.Title.TextStyle, letters+2)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		sans(&axis.Tick.Label, letters)
		axis.LineStyle.Width, axis.Tick.Length = 0, 0
	}
	p.Add(&plotter.Grid{Vertical: draw.LineStyle{Color: rgb(0xd0d7de), Width: 0.5}})
	var groups []plot.Tick
	var least, most float64
	for _, g := range c.groups {
		middle := rows + float64(len(g.bars)-1)/2
		groups = append(groups, plot.Tick{Value: -middle, Label: g.label})
		for _, b := range g.bars {
			if err := b.draw(p, -rows); err != nil {
				return nil, 0, err
			}
			least, most = min(least, b.length()), max(most, b.length())
			rows++
		}
		rows += 0.5
	}
	p.Y.Min, p.Y.Max = 0.5-rows, 0.5
	p.Y.Tick.Marker = plot.ConstantTicks(groups)
	p.Y.Padding = letters
	p.X.Tick.Marker = decades(least, most)
	one, err := plotter.NewLine(plotter.XYs{{Y: p.Y.Min}, {Y: p.Y.Max}})
	if err != nil {
		return nil, 0, err
	}
	one.LineStyle = draw.LineStyle{Color: rgb(0x1f2328), Width: 1}
	p.Add(one)
	return p, rows, nil
}

// length returns the length of the bar, or 0 if the contender failed.
func (b *bar) length() float64 {
	if b.times <= 0 {
		return 0
	}
	return math.Log10(b.times)
}

// draw adds the bar and its label. The label is to the right of the bar and of the line at 1.
func (b *bar) draw(p *plot.Plot, y float64) error {
	drawn, err := plotter.NewBarChart(plotter.Values{b.length()}, barHeight)
	if err != nil {
		return err
	}
	look := looks[b.look]
	drawn.Horizontal, drawn.XMin, drawn.LineStyle.Width, drawn.Color = true, y, 0, look.colour
	says := number(b.times) + "×  " + look.says
	if b.times <= 0 {
		says = look.says + " failed"
	}
	if b.peer {
		says += ", the best peer"
	}
	label, err := plotter.NewLabels(plotter.XYLabels{
		XYs:    plotter.XYs{{X: max(b.length(), 0), Y: y}},
		Labels: []string{says},
	})
	if err != nil {
		return err
	}
	label.Offset.X = 3
	style := &label.TextStyle[0]
	sans(style, letters)
	style.Color, style.YAlign = rgb(0x1f2328), draw.YCenter
	p.Add(drawn, label)
	return nil
}

func sans(s *plottext.Style, size vg.Length) {
	s.Font.Variant = "Sans"
	s.Font.Size = size
}

// decades returns ticks at 1, 2 and 5 in each decade. Their labels show the numbers, not the
// logarithms.
func decades(least, most float64) plot.ConstantTicks {
	var ticks []plot.Tick
	for decade := math.Floor(least); decade <= most; decade++ {
		for _, digit := range []float64{1, 2, 5} {
			v := digit * math.Pow(10, decade)
			if at := math.Log10(v); at >= least-0.1 && at <= most+0.1 {
				ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%.3g×", v)})
			}
		}
	}
	return ticks
}
