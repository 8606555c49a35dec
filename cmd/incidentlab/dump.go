package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// types are those of the metric families in a recording.
var types = map[string]string{
	"http_requests":                      "counter",
	"http_request_duration_seconds":      "histogram",
	"container_cpu_usage_seconds":        "counter",
	"container_memory_working_set_bytes": "gauge",
	"container_spec_memory_limit_bytes":  "gauge",
	"shop_pool_in_use":                   "gauge",
	"shop_pool_waiting":                  "gauge",
	"shop_build_info":                    "gauge",
	"up":                                 "gauge",
}

// familyOf is the family of a metric's name.
func familyOf(name string) string {
	for _, suffix := range []string{"_total", "_bucket", "_count"} {
		if family, cut := strings.CutSuffix(name, suffix); cut && types[family] != "" {
			return family
		}
	}
	return name
}

// dump writes series as OpenMetrics text, family by family, with the times that
// at gives to the real ones. Samples that fall on one time are one: the first.
func dump(w io.Writer, series []scraped, at func(time.Time) time.Time) error {
	out := bufio.NewWriterSize(w, 1<<20)
	sorted := slices.Clone(series)
	slices.SortFunc(sorted, func(a, b scraped) int {
		return cmp.Or(cmp.Compare(familyOf(a.labels["__name__"]), familyOf(b.labels["__name__"])), cmp.Compare(text(a.labels), text(b.labels)))
	})
	family := ""
	for _, s := range sorted {
		if f := familyOf(s.labels["__name__"]); f != family {
			family = f
			if types[f] == "" {
				return fmt.Errorf("metric %s has no type", f)
			}
			fmt.Fprintf(out, "# TYPE %s %s\n", f, types[f])
		}
		name, last := text(s.labels), int64(-1)
		for i, t := range s.at {
			second := at(t).Unix()
			if second <= last {
				continue
			}
			last = second
			out.WriteString(name)
			out.WriteByte(' ')
			out.WriteString(s.value[i])
			out.WriteByte(' ')
			out.WriteString(strconv.FormatInt(second, 10))
			out.WriteByte('\n')
		}
	}
	out.WriteString("# EOF\n")
	return out.Flush()
}

// text is a series in OpenMetrics' notation, its labels in order.
func text(labels map[string]string) string {
	var b strings.Builder
	b.WriteString(labels["__name__"])
	b.WriteByte('{')
	first := true
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name == "__name__" {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(labels[name]))
	}
	b.WriteByte('}')
	return b.String()
}

// compressed writes a file as zstd, by the program of that name where there is
// one: at its level 19 a recording is a third smaller than the library's best.
func compressed(path string, write func(io.Writer) error) error {
	program, err := exec.LookPath("zstd")
	if err != nil {
		return compressedByLibrary(path, write)
	}
	cmd := exec.Command(program, "-19", "-q", "-f", "-o", path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = errors.Join(write(in), in.Close())
	return errors.Join(err, cmd.Wait())
}

func compressedByLibrary(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	err = errors.Join(write(z), z.Close())
	return errors.Join(err, f.Close())
}
