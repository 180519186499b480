/* Addresses as text. Level 1. */
#ifndef WR_ADDR_H
#define WR_ADDR_H

#include <sys/socket.h>

#include "base.h"

/* As weir_addr_parse and weir_addr_format. */
int wr_addr_parse(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len);
int wr_addr_format(const struct sockaddr *addr, socklen_t addr_len, char *text, size_t size);

#endif
