package main

// Where tests of the caches are.
const (
	files   = "./test/kernel/files"
	sockets = "./test/kernel/sockets"
)

// mutations are what the keys of the caches are made of. What several parts tell together is removed together: a
// directory's address, inode and name say the same unless memory or numbers are used again between two looks.
var mutations = []mutation{
	// The words of files (bpf/cache/words.h).
	{name: "word: which directory", file: "bpf/cache/words.h", texts: []string{`	hash = add_word(hash, directory->dentry);
	hash = add_word(hash, directory->mount);
	hash = add_word(hash, directory->number);
	hash = add_word(hash, (__u64)directory->generation << 32 | directory->name);
`, "	hash = add_word(hash, directory->mount);\n"}, test: "TestFiles/cache", packages: files},
	{name: "word: the directory's mount", file: "bpf/cache/words.h", texts: []string{"	hash = add_word(hash, directory->mount);\n", ""}, test: "TestFiles/cache", packages: files},
	{name: "word: revision and what is in force", file: "bpf/cache/words.h", texts: []string{"	hash = add_word(hash, now);\n	return hash ^ hash_key[1];", "	return hash ^ hash_key[1];"}, test: "TestFiles/cache", packages: files},
	{name: "word: the operation", file: "bpf/cache/words.h", texts: []string{"hash_key[0] + id;", "hash_key[0] + (id >> 31);"}, test: "TestFiles", packages: files},
	{name: "word: the counts of renames and mounts", file: "bpf/cache/words.h", texts: []string{"add_word(add_word(place, counts), subject)", "add_word(add_word(place, 1), subject)"}, test: "TestFiles/cache", packages: files},
	{name: "word: who asks", file: "bpf/cache/words.h", texts: []string{"add_word(add_word(place, counts), subject)", "add_word(add_word(place, counts), 0)"}, test: "TestFiles/cache", packages: files},
	{name: "word: which file of the directory", file: "bpf/cache/words.h", texts: []string{`	__u64 hash = add_word(directory, dentry);

	hash = add_word(hash, number);
	hash = add_word(hash, (__u64)generation << 32 | name);
	return add_word(hash, renamed);`, "	return directory;"}, test: "TestFiles/cache", packages: files},
	{name: "word: files that policies know", file: "bpf/cache/words.h", texts: []string{"	if (!has_bit(all->named, number))\n		return false;", "	return false;"}, test: "TestFiles/cache", packages: files},
	{name: "word: files that policies know, by their filesystem", file: "bpf/cache/words.h", texts: []string{"	return has_bit(all->identified,", "	return false && has_bit(all->identified,"}, test: "TestFiles/cache", packages: files},
	{name: "word: devices", file: "bpf/cache/known.h", texts: []string{`	if ((mode & MODE_TYPE & ~MODE_DIRECTORY) == MODE_CHARACTER)
		return false;
`, ""}, test: "TestFiles/cache", packages: files},
	{name: "word: deleted files", file: "bpf/cache/known.h", texts: []string{`	if (!dentry->d_hash.pprev && mode)
		return false;
`, ""}, test: "TestFiles/(cache|kinds)", packages: files},

	// What has no name below overlayfs (bpf/cache/below.h).
	{name: "below: that it has no name", file: "bpf/object.h", texts: []string{"has_no_name(scratch->above_path) && has_no_name(scratch->above_file)", "true"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},
	{name: "below: which file", file: "bpf/cache/below.h", texts: []string{"dentry - all->at, itself.name, itself.renamed, number, generation);", "dentry >> 63, 0, 0, number >> 63, generation >> 31);"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},
	{name: "below: its directory and what is in force", file: "bpf/cache/below.h", texts: []string{"add_word(place_of_directory(&identity, now, 0), filesystem)", "filesystem"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},
	{name: "record: where a file below lies", file: "bpf/cache/file.h", texts: []string{"is_backing(file) ? mix(stamp, below) : stamp", "stamp"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},
	{name: "below: the count of moved directories", file: "bpf/cache/below.h", texts: []string{"word_for(place, counts >> 32, id + 1)", "word_for(place, 1, id + 1)"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},
	{name: "below: the operation", file: "bpf/cache/below.h", texts: []string{"word_for(place, counts >> 32, id + 1)", "word_for(place, counts >> 32, 1)"}, test: "TestFiles/cache", packages: files, kernel: "6.1"},

	// What is kept of directories (bpf/cache/directory.h, bpf/cache/chain.h).
	{name: "directory: the counts", file: "bpf/cache/directory.h", texts: []string{"add_word(add_word(add_word(content, chain), counts), hash_key[1])", "add_word(add_word(content, chain), hash_key[1])"}, test: "TestFiles/cache", packages: files},
	{name: "directory: its chain", file: "bpf/cache/directory.h", texts: []string{"if (!found || chain != chain_of_directory(content, found))", "if (!found)"}, test: "TestFiles/cache", packages: files},
	{name: "lasting word: where the directory is", file: "bpf/cache/words.h", texts: []string{"add_word(add_word(place, ~there), subject)", "add_word(add_word(place, 1), subject)"}, test: "TestFiles/cache", packages: files},
	{name: "lasting word: who asks", file: "bpf/cache/words.h", texts: []string{"add_word(add_word(place, ~there), subject)", "add_word(add_word(place, ~there), 0)"}, test: "TestFiles/cache", packages: files},
	{name: "record: where the directory is", file: "bpf/cache/file.h", texts: []string{"	return lasting_word(place, there, 0);", "	return lasting_word(place, 1, 0);"}, test: "TestFiles/cache", packages: files},
	{name: "directory: its mounts", file: "bpf/cache/directory.h", texts: []string{"if (!mounts || mounts != mounts_of(mnt)) {", "if (!mounts) {"}, test: "TestFiles/cache", packages: files},
	{name: "moves: not of directories", file: "bpf/cache/moves.h", texts: []string{"	return inode && (inode->i_mode & MODE_TYPE) != MODE_DIRECTORY;", "	return inode;"}, test: "TestFiles/cache", packages: files},
	{name: "class: its user", file: "bpf/row.h", texts: []string{"	if (now & ACTIVE_USERS && (*subject)->uid != current_uid())\n		return ROW_RETRY;\n", ""}, test: "TestSubjects", packages: "./test/kernel/subjects"},
	{name: "chain: dentries, their names and inodes", file: "bpf/cache/chain.h", texts: []string{`	hash = mix(hash, dentry);
	hash = mix(hash, (__u64)parts->name << 32 | parts->renamed);
	return mix(hash, READ(inode, i_ino));`, "	return hash;"}, test: "TestFiles/cache", packages: files},
	{name: "chain: names and counts of renames", file: "bpf/cache/chain.h", texts: []string{"	hash = mix(hash, (__u64)parts->name << 32 | parts->renamed);\n", ""}, test: "TestFiles/cache", packages: files},
	{name: "chain: mounts", file: "bpf/cache/chain.h", texts: []string{"		hash = mix(mix(hash, mount), root);\n", ""}, test: "TestFiles/cache", packages: files},
	{name: "chain: what is above a bind mount's root", file: "bpf/cache/chain.h", texts: []string{"		hash = mix(hash, upper);\n", ""}, test: "TestFiles/cache", packages: files},
	{name: "chain: where it ends", file: "bpf/cache/chain.h", texts: []string{"	hash = mix(hash, address);\n", ""}, test: "TestFiles/cache", packages: files},

	// Places of sockets (bpf/socket.h).
	{name: "place: the revision", file: "bpf/socket.h", texts: []string{"	place_add(place, PLACE_REVISION, now >> 32);", "	place_add(place, PLACE_REVISION, 1);"}, test: "TestPlaces", packages: sockets},
	{name: "place: protocol and operation", file: "bpf/socket.h", texts: []string{"	place_add(place, PLACE_SOCKET,", "	place_add(place, PLACE_SOCKET, true ? 0 : "}, test: "TestPlaces|TestSocketBindAgain", packages: sockets},
	{name: "place: family and port", file: "bpf/socket.h", texts: []string{"	place_add(place, PLACE_PORT, (__u32)raw->words[0]);\n", ""}, test: "TestPlaces|TestSocket", packages: sockets},
	{name: "place: the address, IPv4", file: "bpf/socket.h", texts: []string{"		place_add(place, PLACE_ADDRESS4, raw->words[0] >> 32);\n		place_choose(place, SLOT_START, raw->words[0]);", "		place_choose(place, SLOT_START, (__u32)raw->words[0]);"}, test: "TestPlaces|TestSocket", packages: sockets},
	{name: "place: the upper half of the address, IPv6", file: "bpf/socket.h", texts: []string{
		"	place_add_both(place, PLACE_ADDRESS6, raw->words[1]);\n", "", "	place_choose(place, SLOT_ADDRESS6, raw->words[1]);\n", "",
	}, test: "TestPlaces|TestSocket", packages: sockets},
	{name: "place: the lower half of the address, IPv6", file: "bpf/socket.h", texts: []string{
		"	place_add_both(place, PLACE_ADDRESS6 + 2, raw->words[2]);\n", "", "	place_choose(place, SLOT_ADDRESS6 + 1, raw->words[2]);\n", "",
	}, test: "TestPlaces|TestSocket", packages: sockets},
	{name: "place: who asks", file: "bpf/cache/place.h", texts: []string{"	place_add_both(place, PLACE_SUBJECT, key);\n	place_choose(place, SLOT_SUBJECT, key);\n", ""}, test: "TestPlaces|TestSocket", packages: sockets},
}
