package abi

// OperationID returns the number of an operation, 0 if there is none of the name.
func OperationID(name string) int {
	for id, known := range OperationNames {
		if known == name {
			return int(id)
		}
	}
	return 0
}
