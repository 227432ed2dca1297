package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// ErrUnknown is the error of a machine whose boot loader this package cannot set up.
var ErrUnknown = errors.New("cannot change how this machine boots")

// loader finds out what boots the machine. It refuses where that is not certain.
func (s System) loader() (loader, error) {
	if s.exists("/run/ostree-booted") {
		return nil, unknown("this is an OSTree system; set the parameter with rpm-ostree kargs")
	}
	running := s.variable("LoaderInfo") // of EFI, which the boot loader sets
	systemd := len(s.glob("/boot/EFI/systemd/systemd-boot*.efi", "/efi/EFI/systemd/systemd-boot*.efi", "/boot/efi/EFI/systemd/systemd-boot*.efi")) > 0
	config := ""
	for _, name := range []string{"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"} {
		if config == "" && s.exists(name) {
			config = name
		}
	}
	switch {
	case strings.HasPrefix(running, "systemd-boot"), running == "" && systemd && config == "":
		return s.kernelInstall()
	case running == "" && s.variable("StubInfo") != "":
		return nil, unknown("the firmware starts a unified kernel image, which holds the kernel command line; build it with another one")
	case running == "" && systemd:
		return nil, unknown("both GRUB and systemd-boot are installed, and nothing tells which one boots the machine")
	case s.tool("grubby") != "" && len(s.glob("/boot/loader/entries/*.conf")) > 0:
		return &grubby{System: s, program: s.tool("grubby")}, nil
	case config != "":
		return s.grub(config)
	}
	return nil, unknown("found neither GRUB (grub.cfg below /boot/grub or /boot/grub2), nor boot entries for grubby, nor systemd-boot")
}

// unknown is the error of what this package does not do.
func unknown(why string) error { return fmt.Errorf("%w: %s", ErrUnknown, why) }

// variable returns a text that the boot loader left in an EFI variable, "" without one.
// https://systemd.io/BOOT_LOADER_INTERFACE has their names.
func (s System) variable(name string) string {
	data, err := s.read("/sys/firmware/efi/efivars/" + name + "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	if err != nil || len(data) < 4 {
		return ""
	}
	var units []uint16
	for text := []byte(data[4:]); len(text) >= 2; text = text[2:] { // after the attributes
		units = append(units, binary.LittleEndian.Uint16(text))
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
