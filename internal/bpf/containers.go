package bpf

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// textsMap keeps what is known of containers for a later process. No program reads it.
const textsMap = "container_texts"

var textsSpec = &ebpf.MapSpec{
	Name: textsMap, Type: ebpf.Hash, Flags: noPrealloc,
	KeySize: 8, ValueSize: abi.ContainerTextBytes, MaxEntries: 8 * abi.MaxContainers,
}

// noPrealloc is BPF_F_NO_PREALLOC.
const noPrealloc = 1

// Containers are the maps that tell the kernel of containers (bpf/container.h). They can be used side by
// side with everything else until the object is closed; one caller at a time.
type Containers struct {
	groups, classes, texts *ebpf.Map
	// known is how many there are, changes how often what is known of one has changed.
	known, changes *atomic.Uint64
}

// Containers returns the maps of containers.
func (o *Object) Containers() *Containers {
	return &Containers{o.maps[GuardMapContainers], o.maps[GuardMapContainerClasses], o.maps[textsMap], &o.words[abi.ActiveContainers], &o.words[abi.ActiveChanges]}
}

// SetGroup tells that a control group is that of a container.
func (c *Containers) SetGroup(group uint64, number uint32) error {
	err := c.groups.Update(group, number, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		return c.groups.Put(group, number)
	}
	if err == nil {
		c.known.Add(1)
	}
	return err
}

// ForgetGroup tells that a control group is that of no container any more.
func (c *Containers) ForgetGroup(group uint64) error {
	err := c.groups.Delete(group)
	if err == nil {
		c.known.Add(^uint64(0))
	}
	return ignoreMissingKey(err)
}

// Groups returns all control groups of containers.
func (c *Containers) Groups() (map[uint64]uint32, error) {
	groups := map[uint64]uint32{}
	var group uint64
	var number uint32
	entries := c.groups.Iterate()
	for entries.Next(&group, &number) {
		groups[group] = number
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("reading the containers' control groups: %w", err)
	}
	c.known.Store(uint64(len(groups)))
	return groups, nil
}

// MaxSelectors is how many lists of selectors of one policy set can select the same container.
const MaxSelectors = abi.MaxContainerSelectors

// classKey is that of a container in a revision.
func classKey(revision, number uint32) uint64 { return uint64(revision)<<32 | uint64(number) }

func classOf(selectors []uint16) (abi.ContainerClass, error) {
	class := abi.ContainerClass{Count: uint16(len(selectors))}
	if len(selectors) > MaxSelectors {
		return class, fmt.Errorf("%d lists of containers select it; %d are possible, put several into one policy", len(selectors), MaxSelectors)
	}
	copy(class.Selectors[:], selectors)
	return class, nil
}

// SetClass tells which lists of selectors of a revision select a container.
func (c *Containers) SetClass(revision, number uint32, selectors []uint16) error {
	class, err := classOf(selectors)
	if err != nil {
		return err
	}
	return c.classes.Put(classKey(revision, number), class)
}

// SetClasses is SetClass for many.
func (c *Containers) SetClasses(revision uint32, selectors map[uint32][]uint16) error {
	keys := make([]uint64, 0, len(selectors))
	classes := make([]abi.ContainerClass, 0, len(selectors))
	for number, s := range selectors {
		class, err := classOf(s)
		if err != nil {
			return err
		}
		keys, classes = append(keys, classKey(revision, number)), append(classes, class)
	}
	if len(keys) == 0 {
		return nil
	}
	if _, err := c.classes.BatchUpdate(keys, classes, nil); err != nil {
		return fmt.Errorf("telling the kernel what %d containers are: %w", len(keys), err)
	}
	return nil
}

// ForgetClass forgets what a container is in a revision.
func (c *Containers) ForgetClass(revision, number uint32) error {
	return ignoreMissingKey(c.classes.Delete(classKey(revision, number)))
}

// SetText keeps what is known of a container in place of what was. It returns an error for a text that
// is longer than [MaxText].
func (c *Containers) SetText(number uint32, text []byte) error {
	if len(text) > MaxText {
		return fmt.Errorf("what is known of the container takes %d bytes, more than %d", len(text), MaxText)
	}
	part := uint32(0)
	for ; len(text) > 0; part++ {
		var piece abi.ContainerText
		text = text[copy(piece.Text[:], text):]
		if err := c.texts.Put(abi.ContainerTextKey{Number: number, Part: part}, piece); err != nil {
			return err
		}
	}
	return c.forgetText(number, part)
}

// MaxText is how many bytes the text of a container may have.
const MaxText = 256 * abi.ContainerTextBytes

// ForgetText forgets what was kept of a container.
func (c *Containers) ForgetText(number uint32) error { return c.forgetText(number, 0) }

// forgetText forgets the parts of a text from one on.
func (c *Containers) forgetText(number, part uint32) error {
	for ; ; part++ {
		err := c.texts.Delete(abi.ContainerTextKey{Number: number, Part: part})
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Texts returns what was kept of all containers.
func (c *Containers) Texts() (map[uint32][]byte, error) {
	pieces := map[abi.ContainerTextKey]abi.ContainerText{}
	var key abi.ContainerTextKey
	var piece abi.ContainerText
	entries := c.texts.Iterate()
	for entries.Next(&key, &piece) {
		pieces[key] = piece
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("reading what is known of containers: %w", err)
	}
	texts := map[uint32][]byte{}
	for key := range pieces {
		if key.Part != 0 {
			continue
		}
		var text []byte
		for {
			piece, ok := pieces[key]
			if !ok {
				break
			}
			text = append(text, piece.Text[:]...)
			key.Part++
		}
		texts[key.Number] = text
	}
	return texts, nil
}

func ignoreMissingKey(err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// Changed tells that what is known of a container has changed: what is kept for processes that start holds
// no longer. For those that run see [Object.LabelContainers].
func (c *Containers) Changed() { c.changes.Add(1) }

// LabelContainers gives the running tasks the containers of their control groups, as far as these are
// known, and returns how many tasks that changed. If what is known of containers has changed, the tasks
// in them look up what they are anew.
func (o *Object) LabelContainers(changed bool) (int, error) {
	labels, err := o.loadIterator(GuardProgLabelContainers)
	if err != nil {
		return 0, err
	}
	defer labels.Close()
	if changed {
		if err := labels.Variables[GuardVarHasChanged].Set(uint32(1)); err != nil {
			return 0, err
		}
		// A program that is just looking it up may have what was known before. The kernel waits for
		// all programs that run when a map in a map is put, also for the one that is there already.
		if err := o.maps[GuardMapRevisions].Put(uint32(abi.SlotActive), o.published.tables); err != nil {
			return 0, fmt.Errorf("waiting for the programs that run: %w", err)
		}
	}
	if err := iterate(labels, GuardProgLabelContainers); err != nil {
		return 0, err
	}
	var n uint64
	err = labels.Variables[GuardVarMarked].Get(&n)
	return int(n), err
}
