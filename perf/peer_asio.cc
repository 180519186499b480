// To compare with: an echo server on Asio, with a buffer of 64 KiB for each session. It is built twice: on epoll, and
// with ASIO_HAS_IO_URING and ASIO_DISABLE_EPOLL on io_uring. This is Asio without Boost, the same code under another
// name: Debian's Boost is too old for io_uring.
#include <array>
#include <asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <system_error>

#include "common_peer.h"

using asio::ip::tcp;

namespace {

class Session : public std::enable_shared_from_this<Session> {
public:
    explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

    void read()
    {
        socket_.async_read_some(asio::buffer(data_), [self = shared_from_this()](std::error_code ec, std::size_t n) {
            if (!ec)
                self->write(n);
        });
    }

private:
    void write(std::size_t n)
    {
        asio::async_write(socket_, asio::buffer(data_, n), [self = shared_from_this()](std::error_code ec, auto) {
            if (!ec)
                self->read();
        });
    }

    tcp::socket socket_;
    std::array<char, 65536> data_;
};

void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](std::error_code ec, tcp::socket socket) {
        if (!ec)
            std::make_shared<Session>(std::move(socket))->read();
        accept(acceptor);
    });
}

#ifdef ASIO_HAS_IO_URING
constexpr char world[] = "Asio, io_uring";
#else
constexpr char world[] = "Asio, epoll";
#endif

}  // namespace

int main(int argc, char **argv)
try {
    asio::io_context context(1);    // one thread
    tcp::acceptor acceptor(context, tcp::v4(), peer_start(argc, argv, "", world, 0));
    asio::signal_set signals(context, SIGTERM);
    signals.async_wait([&context](std::error_code, int) { context.stop(); });
    accept(acceptor);
    context.run();
    std::_Exit(0);  // on io_uring, what waits in a context is not safe to destroy
} catch (const std::exception &e) {
    std::fprintf(stderr, "Asio: %s\n", e.what());
    return 1;
}
