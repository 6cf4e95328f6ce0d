/*
 * admin.h
 *		What the SQL functions that ask the broker share.
 */
#ifndef FLO_ADMIN_H
#define FLO_ADMIN_H

/* 42704 for an unknown group, 42501 unless the caller has the rights of an owner of one of its members */
extern void flo_admin_require_any_member(const char *group);

#endif
