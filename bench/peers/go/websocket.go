// gorilla/websocket, a goroutine a connection. Usage: websocket PORT [echo|broadcast]
package main

import (
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

var (
	upgrader = websocket.Upgrader{
		ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	guard   sync.Mutex
	members = map[*websocket.Conn]struct{}{}
)

func echo(socket *websocket.Conn) {
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil || socket.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// broadcast sends what comes to all; the frame is made once.
func broadcast(socket *websocket.Conn) {
	guard.Lock()
	members[socket] = struct{}{}
	guard.Unlock()
	defer func() {
		guard.Lock()
		delete(members, socket)
		guard.Unlock()
	}()
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(kind, message)
		if err != nil {
			return
		}
		guard.Lock()
		for member := range members {
			member.WritePreparedMessage(prepared)
		}
		guard.Unlock()
	}
}

func main() {
	serve := echo
	if len(os.Args) > 2 && os.Args[2] == "broadcast" {
		serve = broadcast
	}
	handler := func(writer http.ResponseWriter, request *http.Request) {
		socket, err := upgrader.Upgrade(writer, request, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		serve(socket)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
