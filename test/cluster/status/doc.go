// Package status tests what the agents of nodes tell a real API server: the status of nodes and policies, events and
// policy reports; and what becomes of it all when an agent or the API server goes away.
package status
