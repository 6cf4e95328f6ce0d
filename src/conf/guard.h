/*
 * guard.h
 *		Keeps DROP EXTENSION and DROP DATABASE from leaving members, slots and
 *		streams behind unseen.
 */
#ifndef FLO_GUARD_H
#define FLO_GUARD_H

/* From _PG_init: install the hooks */
extern void flo_guard_init(void);

#endif
