package compile

import (
	"testing"
)

// TestFilter has few files share a bit with those that policies name.
func TestFilter(t *testing.T) {
	for named, most := range map[int]float64{1: 0.0001, 30: 0.002, 1000: 0.016, 20_000: 0.016} {
		f := &filter{}
		for i := range named {
			f.files = append(f.files, Identity{Device: 8 << 20, Inode: uint64(i*i*7919 + i)})
		}
		words, identities := f.words()
		shared, numbers := 0, uint64(len(words)*32)
		for number := range numbers {
			shared += int(words[number/32] >> (number % 32) & 1)
		}
		if share := float64(shared) / float64(numbers); share > most {
			t.Errorf("%d files: %.2f %% of all others share a bit with one, in %d KiB", named, 100*share, len(words)/256)
		}
		elsewhere := 0
		for _, file := range f.files {
			is := func(words []uint32, number uint64) bool {
				bit := number % numbers
				return words[bit/32]>>(bit%32)&1 != 0
			}
			if !is(words, file.Inode) || !is(identities, identityNumber(file)) {
				t.Fatalf("%d files: %v is not in the filter", named, file)
			}
			for _, device := range []uint64{8<<20 + 1, 9 << 20, 1, 0x9fa0} {
				if is(identities, identityNumber(Identity{Device: device, Inode: file.Inode})) {
					elsewhere++
				}
			}
		}
		if elsewhere > named/4 {
			t.Errorf("%d files: %d with the same numbers on another filesystem share a bit with one", named, elsewhere)
		}
	}
}
