package compile

import "testing"

// TestFilter has few files share a bit with those that policies name.
func TestFilter(t *testing.T) {
	for named, most := range map[int]float64{1: 0.0001, 30: 0.002, 1000: 0.016, 20_000: 0.016} {
		f := &filter{}
		for i := range named {
			f.inodes = append(f.inodes, uint64(i*i*7919+i))
		}
		words := f.words()
		shared, numbers := 0, uint64(len(words)*32)
		for number := range numbers {
			shared += int(words[number/32] >> (number % 32) & 1)
		}
		if share := float64(shared) / float64(numbers); share > most {
			t.Errorf("%d files: %.2f %% of all others share a bit with one, in %d KiB", named, 100*share, len(words)/256)
		}
		for _, inode := range f.inodes {
			if bit := inode % numbers; words[bit/32]>>(bit%32)&1 == 0 {
				t.Fatalf("%d files: %d is not in the filter", named, inode)
			}
		}
	}
}
