// Package store keeps what homeostat must not forget in one directory.
//
//	VERSION  the format of the directory
//	LOCK     held by the process that has it open
//	BALLAST  room that is given up when the disk runs full
//	log/     the append-only log of records: files of frames, and TIP
//	labels/  labels and undos that retention took out of the log
//	pages/   Badger: pages of baselines and the settle record
//
// FORMAT.md beside this file has every byte.
//
// # What holds
//
// When Append returns, its records are on disk. After a crash at any moment the
// log holds every record that Append returned for, and beyond them at most a
// beginning of the append that was under way. A failed write or sync is final:
// nothing is written after it, since nobody knows what the disk holds.
//
// Opening looks at every byte of the log. The tail that a crash tore is cut, and
// Cut says how much. Whatever no crash explains refuses to open and names the
// file, the offset, the records and `homeostat inspect --salvage`.
//
// A page is good by itself: it carries its checksum and the sequence as of which
// it holds. The version before the newest stays until the next one is stored, so
// that a rotten page falls back to it and the log is redone from there.
//
// # Who may call what
//
// Append, WritePages, WriteSettle, Retire, EndInOrder, Restore and Close wait for
// each other. Scan, Labels, First, Last, Admit, Stats may run beside them.
package store
