/*
 * encode.h
 *		Writes a change as a message of the logical replication protocol.
 */
#ifndef FLO_ENCODE_H
#define FLO_ENCODE_H

#include "lib/stringinfo.h"
#include "wire/change.h"

/*
 * Replace the buffer's contents by the message of an INSERT, UPDATE or
 * DELETE: what flo_change_parse() reads.
 */
extern void flo_encode_change(StringInfo buf, const FloChange *change);

#endif
