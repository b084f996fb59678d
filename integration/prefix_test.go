package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hushfs/hushfs/integration/history"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Three machines write registers and read those of the others, for seconds or for
// HUSHFS_HISTORY, over ways that lose answers, and are killed or unmounted now and then:
// each sees its own writes, and a prefix of one order, and in the end all of them the same.
func TestPrefixOfOneOrder(t *testing.T) {
	t.Parallel()
	lasts := 5 * time.Second
	if s := os.Getenv("HUSHFS_HISTORY"); s != "" {
		d, err := time.ParseDuration(s)
		must(t, err)
		lasts = d
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const registers = 3
	server := s3test.Start(t, s3test.MinIO)
	first := driveAt(t, server)
	machines := []*machine{first, first.another(), first.another()}
	proxies := make([]*s3test.Proxy, len(machines))
	for i, m := range machines {
		proxies[i] = server.Proxy(t)
		m.settings = append(m.settings[:len(m.settings):len(m.settings)], "AWS_ENDPOINT_URL="+proxies[i].Endpoint)
		m.ok(m.mountArgs("--poll", "200ms")...)
		for r := range registers {
			must(t, os.WriteFile(m.in(register(i, r)), []byte("0"), 0o644))
		}
		m.ok("sync", m.mnt)
	}
	for _, m := range machines {
		m.ok("sync", m.mnt)
	}
	for i, p := range proxies {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)+100))
		p.Spoil(spoilSome(rnd, s3test.LoseAnswer, 30), spoilSome(rnd, s3test.Reset, 30), spoilSome(rnd, s3test.Say(503, "SlowDown"), 30))
	}
	h := make(history.History, len(machines))
	until := time.Now().Add(lasts)
	var others, late atomic.Int64 // events in which a machine sees another's writes; after it was killed
	going := func() bool {        // on a busy machine until there is something to judge
		now := time.Now()
		return t.Context().Err() == nil && (now.Before(until) || late.Load() == 0 && now.Before(until.Add(patience)))
	}
	var g sync.WaitGroup
	for i, m := range machines {
		g.Go(func() { // nobody waits for anything to be sent: have it sent all the time
			for going() {
				_ = m.command(t.Context(), hushfs, "wait", "--timeout", "5s", m.mnt).Run()
			}
		})
		g.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			made := [registers]int{}
			ends := time.Now().Add(time.Duration(rnd.Int64N(int64(3 * time.Second))))
			killed, kill := false, i > 0
			for going() {
				if time.Now().After(ends) {
					if kill { // loses what was not synced
						if err := syncsAll(m, i, registers); err != nil {
							t.Errorf("machine %d syncs: %v", i, err)
							return
						}
					}
					if err := m.again(kill, "--poll", "200ms"); err != nil {
						t.Errorf("machine %d is mounted again: %v", i, err)
						return
					}
					ends = time.Now().Add(time.Duration(rnd.Int64N(int64(10 * time.Second))))
					killed, kill = killed || kill, rnd.IntN(2) == 0
				}
				if rnd.IntN(3) == 0 {
					r := rnd.IntN(registers)
					made[r]++
					if err := count(m, i, r, made[r], rnd.IntN(2) == 0); err != nil {
						t.Errorf("machine %d writes: %v", i, err)
						return
					}
					h[i] = append(h[i], history.Event{Write: true, Register: history.Register{Machine: i, No: r}, Count: made[r]})
					continue
				}
				reg := history.Register{Machine: rnd.IntN(len(machines)), No: rnd.IntN(registers)}
				n, err := counted(m, reg)
				if err != nil {
					t.Errorf("machine %d reads: %v", i, err)
					return
				}
				h[i] = append(h[i], history.Event{Register: reg, Count: n})
				if reg.Machine != i && n > 0 {
					others.Add(1)
					if killed {
						late.Add(1)
					}
				}
			}
		})
	}
	g.Wait()
	if t.Failed() {
		return
	}
	for _, p := range proxies {
		p.Spoil()
	}
	for range 2 { // the first has not what the last sends
		for _, m := range machines {
			m.ok("sync", "--timeout", "1m", m.mnt)
		}
	}
	events := 0
	for i, m := range machines {
		events += len(h[i])
		for j := range machines {
			for r := range registers {
				reg := history.Register{Machine: j, No: r}
				n, err := counted(m, reg)
				must(t, err)
				h[i] = append(h[i], history.Event{Register: reg, Count: n})
				if last, err := counted(machines[0], reg); err != nil || n != last {
					t.Errorf("in the end machine %d reads %d in register %d of machine %d, and machine 0 reads %d: %v", i, n, r, j, last, err)
				}
			}
		}
	}
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	if late.Load() == 0 {
		t.Error("no machine saw anything of another after it was killed")
	}
	t.Logf("%d events, %d of them of what others wrote, %d on a machine that was killed", events, others.Load(), late.Load())
	away(machines...)
}

// again ends a mount that is in the background, by a kill or as it should, and mounts
// once more.
func (m *machine) again(kill bool, flags ...string) error {
	if kill {
		pid := m.status()[0].PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		gone(m.t, pid)
		m.detach()
	} else {
		eventually(m.t, "umount", patience, func() bool { // other programs have it open now and then
			m.run("umount", m.mnt)
			return !mounted(m.mnt)
		})
	}
	for {
		r := m.run(m.mountArgs(flags...)...)
		switch r.code {
		case 0:
			return nil
		case 11: // a connection broke off while it looked at the bucket
			continue
		}
		return fmt.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// syncsAll syncs what a machine wrote, contents and names.
func syncsAll(m *machine, i, registers int) error {
	for r := range registers {
		if err := syncFolder(m.in(register(i, r))); err != nil {
			return err
		}
	}
	return syncFolder(m.mnt)
}

// register is the file of a register.
func register(machine, no int) string { return fmt.Sprintf("register %d of %d", no, machine) }

// count writes a register as editors save: all of it or nothing.
func count(m *machine, i, r, n int, sync bool) error {
	tmp := m.in(fmt.Sprintf("new of %d", i))
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(n))
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, m.in(register(i, r)))
}

// counted reads a register.
func counted(m *machine, r history.Register) (int, error) {
	b, err := os.ReadFile(m.in(register(r.Machine, r.No)))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}

// spoilSome spoils one request in so many.
func spoilSome(rnd *rand.Rand, spoil s3test.Spoiler, one int) s3test.Spoiler {
	var mu sync.Mutex // guards rnd
	return s3test.Where(func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(one) == 0
	}, spoil)
}
