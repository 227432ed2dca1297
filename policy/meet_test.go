package policy

import (
	"math/rand/v2"
	"testing"
)

// globDraws draws paths and patterns of them that meet often.
type globDraws struct{ draws }

func (d globDraws) Path() string {
	return choose(d, "/srv", "/srv/a", "/srv/ab", "/srv/a/b", "/srv/a/b/c", "/srv/b/c", "/dev/shm/x")
}

func (d globDraws) PathPattern() string {
	return choose(d, "/", "/srv", "/srv/", "/srv/a", "/srv/a/", "/srv/*", "/srv/?", "/srv/a*", "/srv/**", "/**/c", "/*/a/**", "/srv/*/", "/srv/**/b/", "/**", "/srv/a/*/c", "/dev/shm/")
}

func (d globDraws) Names() Names { return Names{Path: d.Path()} }

func (globDraws) Globs() bool { return true }

// TestMeetIsTrue: where two patterns select the same object they are not apart, and
// each key is ordered as meet says. What is warned about rests on that.
func TestMeetIsTrue(t *testing.T) {
	t.Parallel()
	for _, o := range Operations() {
		t.Run(string(o), func(t *testing.T) {
			d := globDraws{draws{rand.New(rand.NewPCG(1, 2))}}
			together, ordered := 0, 0
			for range 30_000 {
				a, b, object := RandomPattern(o, d), RandomPattern(o, d), RandomObject(o, d)
				if checkPattern(o, a) != nil || checkPattern(o, b) != nil {
					continue
				}
				if f, ok := object.(File); ok { // each kind of access is judged by itself
					f.Access = choose(d, f.Access.each()...)
					object = f
				}
				m, ok := meet(a, b)
				if !ok {
					t.Fatalf("%v and %v cannot be compared", a, b)
				}
				first, c1 := a.matches(object)
				second, c2 := b.matches(object)
				if c1 != yes || c2 != yes {
					continue
				}
				together++
				if m.apart {
					t.Fatalf("%v and %v both select %v", a, b, object)
				}
				for key, order := range m.order {
					if order == 1 && first[key] <= second[key] || order == 0 && first[key] < second[key] {
						t.Fatalf("%v and %v, key %d: order %d, but of %v %v and %v", a, b, key, order, object, first, second)
					}
					if order == 1 {
						ordered++
					}
				}
			}
			if together < 100 || ordered < 30 {
				t.Errorf("%d met, %d were ordered; the test tests nothing", together, ordered)
			}
		})
	}
}
