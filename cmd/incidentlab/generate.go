package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// generate computes a leak under a daily season that is larger than what leaks
// in hours: three pods of one service, the memory of one grows.
func generate(args []string, w io.Writer) error {
	fl := flag.NewFlagSet("generate", flag.ContinueOnError)
	seed := fl.Uint64("seed", 1, "seed of the values")
	name := fl.String("name", "", "name of the recording; by default leak_days with the seed")
	out := fl.String("out", "", "folder that it is written to")
	if done, err := parse(fl, args, w); done || err != nil {
		return err
	}
	if *out == "" {
		return fmt.Errorf("generate: -out is empty: want a folder")
	}
	usual := fmt.Sprintf("leak_days_%d", *seed)
	command := fmt.Sprintf("go run ./cmd/incidentlab generate -seed %d -out %s", *seed, *out)
	if *name == "" {
		*name = usual
	} else if *name != usual {
		command += " -name " + *name
	}
	t, series := slowLeak(*seed)
	t.Name, t.Command = *name, command
	if err := t.Validate(); err != nil {
		return err
	}
	return save(w, *out, t, func(w io.Writer) error {
		return dump(w, series, func(at time.Time) time.Time { return at })
	})
}

// slowLeak is a recording and its truth, but for its name and command.
func slowLeak(seed uint64) (scorecard.Truth, []scraped) {
	r := rand.New(rand.NewPCG(seed, 0x1eaf))
	const days, step = 7, 2 * time.Minute
	length := days * 24 * time.Hour
	from := (4*24*time.Hour + time.Duration(r.Float64()*float64(18*time.Hour))).Round(time.Minute)
	grows := 3 + 4*r.Float64() // MiB an hour
	to := from + (36*time.Hour + time.Duration(r.Float64()*float64(12*time.Hour))).Round(time.Minute)
	sick := r.IntN(instances[payment])
	t := scorecard.Truth{
		Generated: true, Seed: seed, Compression: 1, ScrapeSeconds: step.Seconds(),
		Start: start, ScoredFrom: start.Add(3 * 24 * time.Hour), End: start.Add(length),
		Faults: []scorecard.Fault{{
			Kind: scorecard.Leak, Start: start.Add(from), End: start.Add(to), Workload: workloadOf(payment),
			Words: fmt.Sprintf("instance %d of %s keeps %.1f MiB more an hour, under a daily season of ±60 MiB", sick, payment, grows),
		}},
		Nuisances: []scorecard.Fault{},
	}
	return t, leaking(r, length, step, from, to, sick, grows)
}

// leaking makes the memory of three pods. A day moves each by 60 MiB up and
// down, an AR(1) walk by 4 MiB; the leak ends with a restart.
func leaking(r *rand.Rand, length, step, from, to time.Duration, sick int, grows float64) []scraped {
	const mib = 1 << 20
	var out []scraped
	for pod := range instances[payment] {
		labels := func(name string) map[string]string {
			return map[string]string{
				"__name__": name, "namespace": namespace, "deployment": payment, "job": payment,
				"instance": fmt.Sprintf("10.0.0.%d:8080", pod+1), "pod": fmt.Sprintf("payment-%s-%c2mtv", podHashes["v1"], "xkqzw"[pod]),
			}
		}
		memory := scraped{labels: labels("container_memory_working_set_bytes")}
		limit := scraped{labels: labels("container_spec_memory_limit_bytes")}
		base, walk := 380+40*r.Float64(), 0.0
		for at := time.Duration(0); at < length; at += step {
			walk = 0.97*walk + r.NormFloat64()
			v := base + 60*math.Sin(2*math.Pi*(at.Hours()-9)/24) + walk + 1.5*r.NormFloat64()
			if pod == sick && at >= from && at < to {
				v += grows * (at - from).Hours()
			}
			bytes := math.Round(v*mib/4096) * 4096
			memory.at, memory.value = append(memory.at, start.Add(at)), append(memory.value, strconv.FormatFloat(bytes, 'f', -1, 64))
			limit.at, limit.value = append(limit.at, start.Add(at)), append(limit.value, strconv.Itoa(1024*mib))
		}
		out = append(out, memory, limit)
	}
	return out
}
